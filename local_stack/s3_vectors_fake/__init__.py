"""A fake Amazon S3 Vectors on loopback, for the local stack and for tests.

boto3 clients reach it through `AWS_ENDPOINT_URL_S3VECTORS`. Requests and replies are validated
against botocore's service model and the documented limits. Distances are exact cosines, text scores
are BM25 over the stems that SQLite's FTS5 finds, hybrid searches are ordered by reciprocal rank
fusion. Writes are visible to the next request and survive a restart on the same folder.

What AWS does not document is chosen here: the size of a page, the depth of the lists that a hybrid
search fuses, and that `$ne` and `$nin` hold for vectors without the key. Languages other than
English have no stemming and no stop words.
"""

from local_stack.s3_vectors_fake.app import FakeS3Vectors
from local_stack.s3_vectors_fake.settings import S3VectorsSettings

__all__ = ["FakeS3Vectors", "S3VectorsSettings"]
