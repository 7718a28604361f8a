"""The search router: everything that the ten Lambda functions share."""
