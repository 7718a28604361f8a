"""One module per AWS service; the only code that calls boto3 or catches its errors."""
