"""The settings of the fake, which are also its command-line options."""

from dataclasses import dataclass

from local_stack.bedrock_fake.faults import FaultRule
from local_stack.bedrock_fake.settings import check, fault_rules, setting


@dataclass(frozen=True, slots=True)
class S3VectorsSettings:
    """Account and behaviour; each field is also a command-line option."""

    seed: int = setting(0, "seed of every random draw")
    query_latency_ms: float = setting(0.0, "least duration of QueryVectors; 0 = as it takes")
    page_size: float = setting(100.0, "most hits on a page of QueryVectors")
    faults: str = setting("", "comma-separated OPERATION:FAULT:RATE, * = every operation")
    folder: str = setting("", "folder of buckets and vectors; empty = a temporary one")
    calls_file: str = setting("", "file that receives each distinct call")
    region: str = setting("us-east-1", "region in ARNs")
    account: str = setting("000000000000", "account in ARNs")

    def __post_init__(self) -> None:
        check(self)

    @property
    def fault_rules(self) -> tuple[FaultRule, ...]:
        """The parsed `faults`."""
        return fault_rules(self.faults)
