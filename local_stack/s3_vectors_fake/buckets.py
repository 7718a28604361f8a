"""Vector buckets and their indexes: a folder per bucket, a folder in it per index."""

import json
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_stack.bedrock_fake.clock import Clock
from local_stack.bedrock_fake.contract import Params, UnimplementedError
from local_stack.bedrock_fake.settings import LiveSettings
from local_stack.s3_vectors_fake.errors import conflict, invalid, not_found, one_page
from local_stack.s3_vectors_fake.settings import S3VectorsSettings
from local_stack.s3_vectors_fake.store import IndexConfig, VectorStore

# Letters, digits and hyphens; names of indexes may also have dots.
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_INDEX_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ARN = re.compile(r"arn:[^:]+:s3vectors:[^:]+:\d+:bucket/([^/]+)(?:/index/([^/]+))?")
_DESCRIPTION = "description.json"
_PAGE = 500
_MODE = "ENHANCED"  # the only one for buckets made since 2026-09-30


class Buckets:
    """All buckets and indexes, loaded from the folder when they are first used."""

    def __init__(
        self, folder: Path, settings: LiveSettings[S3VectorsSettings], clock: Clock
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._stores: dict[Path, VectorStore] = {}
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the files of all indexes."""
        with self._lock:
            for store in self._stores.values():
                store.close()
            self._stores.clear()

    def create_bucket(self, params: Params) -> Params:
        """Answer CreateVectorBucket."""
        _reject_tags(params)
        name = params["vectorBucketName"]
        if not _BUCKET_NAME.fullmatch(name):
            raise invalid("Invalid vector bucket name")
        with self._lock:
            if self._bucket_folder(name).exists():
                raise conflict("A vector bucket with the specified name already exists")
            self._describe(self._bucket_folder(name), _kept(params, "encryptionConfiguration"))
        return {"vectorBucketArn": self._bucket_arn(name)}

    def get_bucket(self, params: Params) -> Params:
        """Answer GetVectorBucket."""
        name, described = self._find_bucket(params)
        kept = _kept(described, "encryptionConfiguration")
        return {"vectorBucket": {**self._bucket_summary(name), "defaultIndexMode": _MODE, **kept}}

    def list_buckets(self, params: Params) -> Params:
        """Answer ListVectorBuckets."""
        with self._lock:
            names = _names(self._folder, params)
            page, more = one_page(names, params, _PAGE)
            return {"vectorBuckets": [self._bucket_summary(name) for name in page], **more}

    def delete_bucket(self, params: Params) -> Params:
        """Answer DeleteVectorBucket."""
        with self._lock:
            name, _ = self._find_bucket(params)
            if _names(self._bucket_folder(name), {}):
                raise conflict("The specified vector bucket is not empty")
            shutil.rmtree(self._bucket_folder(name))
        return {}

    def create_index(self, params: Params) -> Params:
        """Answer CreateIndex."""
        _reject_tags(params)
        if params["distanceMetric"] != "cosine":
            raise UnimplementedError("distance metrics other than cosine")
        metadata = params.get("metadataConfiguration", {})
        keys = [text["metadataKey"] for text in metadata.get("textSearchConfigurations", [])]
        if len(set(keys)) < len(keys):
            raise invalid("Each text search configuration must have a distinct metadata key")
        name = params["indexName"]
        if not _INDEX_NAME.fullmatch(name):
            raise invalid("Invalid index name")
        with self._lock:
            bucket, _ = self._find_bucket(params)
            folder = self._bucket_folder(bucket) / name
            if folder.exists():
                raise conflict("An index with the specified name already exists")
            fields = ("dimension", "metadataConfiguration", "encryptionConfiguration")
            self._describe(folder, _kept(params, *fields))
        return {"indexArn": self._index_arn(bucket, name)}

    def get_index(self, params: Params) -> Params:
        """Answer GetIndex."""
        bucket, name, described = self._find_index(params)
        metadata = dict(described.get("metadataConfiguration", {}))
        texts = metadata.get("textSearchConfigurations")
        if texts:
            metadata["textSearchConfigurations"] = [{**text, "status": "ACTIVE"} for text in texts]
        index = {
            **self._index_summary(bucket, name),
            "dataType": "float32",
            "dimension": described["dimension"],
            "distanceMetric": "cosine",
            "indexMode": _MODE,
            **_kept(described, "encryptionConfiguration"),
            **({"metadataConfiguration": metadata} if metadata else {}),
        }
        return {"index": index}

    def list_indexes(self, params: Params) -> Params:
        """Answer ListIndexes."""
        with self._lock:
            bucket, _ = self._find_bucket(params)
            names = _names(self._bucket_folder(bucket), params)
            page, more = one_page(names, params, _PAGE)
            return {"indexes": [self._index_summary(bucket, name) for name in page], **more}

    def delete_index(self, params: Params) -> Params:
        """Answer DeleteIndex."""
        with self._lock:
            bucket, name, _ = self._find_index(params)
            folder = self._bucket_folder(bucket) / name
            store = self._stores.pop(folder, None)
            if store is not None:
                store.close()
            shutil.rmtree(folder)
        return {}

    def store(self, params: Params) -> VectorStore:
        """Return the vectors of the index that a request names; NotFoundException if none."""
        with self._lock:
            bucket, name, described = self._find_index(params)
            folder = self._bucket_folder(bucket) / name
            if folder not in self._stores:
                metadata = described.get("metadataConfiguration", {})
                config = IndexConfig(
                    dimension=described["dimension"],
                    non_filterable=frozenset(metadata.get("nonFilterableMetadataKeys", [])),
                    languages={
                        text["metadataKey"]: text.get("language", "")
                        for text in metadata.get("textSearchConfigurations", [])
                    },
                )
                self._stores[folder] = VectorStore(folder, config)
            return self._stores[folder]

    def _find_bucket(self, params: Params) -> tuple[str, Params]:
        name = params.get("vectorBucketName")
        if "vectorBucketArn" in params:
            found = _ARN.fullmatch(params["vectorBucketArn"])
            name = found[1] if found else None
        if not name:
            raise invalid("Must specify either vectorBucketName or vectorBucketArn")
        described = self._read(self._bucket_folder(name)) if _BUCKET_NAME.fullmatch(name) else None
        if described is None:
            raise not_found("vector bucket")
        return name, described

    def _find_index(self, params: Params) -> tuple[str, str, Params]:
        bucket, name = params.get("vectorBucketName"), params.get("indexName")
        if "indexArn" in params:
            found = _ARN.fullmatch(params["indexArn"])
            bucket, name = (found[1], found[2]) if found else (None, None)
        if not bucket or not name:
            raise invalid("Must specify either indexArn or both vectorBucketName and indexName")
        self._find_bucket({"vectorBucketName": bucket})
        folder = self._bucket_folder(bucket) / name
        described = self._read(folder) if _INDEX_NAME.fullmatch(name) else None
        if described is None:
            raise not_found("index")
        return bucket, name, described

    def _describe(self, folder: Path, description: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True)
        created = int(self._clock.now().timestamp())
        content = json.dumps({**description, "created": created})
        (folder / _DESCRIPTION).write_text(content, encoding="utf-8")

    def _read(self, folder: Path) -> Params | None:
        try:
            described: Params = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return described

    def _created(self, folder: Path) -> int:
        described = self._read(folder) or {"created": 0}
        return int(described["created"])

    def _bucket_folder(self, name: str) -> Path:
        return self._folder / name

    def _bucket_arn(self, name: str) -> str:
        settings = self._settings.current
        return f"arn:aws:s3vectors:{settings.region}:{settings.account}:bucket/{name}"

    def _index_arn(self, bucket: str, name: str) -> str:
        return f"{self._bucket_arn(bucket)}/index/{name}"

    def _bucket_summary(self, name: str) -> Params:
        return {
            "vectorBucketName": name,
            "vectorBucketArn": self._bucket_arn(name),
            "creationTime": self._created(self._bucket_folder(name)),
        }

    def _index_summary(self, bucket: str, name: str) -> Params:
        return {
            "vectorBucketName": bucket,
            "indexName": name,
            "indexArn": self._index_arn(bucket, name),
            "creationTime": self._created(self._bucket_folder(bucket) / name),
        }


def _kept(params: Mapping[str, Any], *names: str) -> Params:
    return {name: params[name] for name in names if name in params}


def _reject_tags(params: Params) -> None:
    if params.get("tags"):
        raise UnimplementedError("tags")


def _names(folder: Path, params: Params) -> list[str]:
    prefix = params.get("prefix", "")
    found = (entry.parent.name for entry in folder.glob(f"*/{_DESCRIPTION}"))
    return sorted(name for name in found if name.startswith(prefix))
