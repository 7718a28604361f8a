"""ARNs of Bedrock's shape whose ids derive from names, so that two runs agree on them."""

import hashlib
from dataclasses import dataclass

_ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Arns:
    """The ARNs of one account and region."""

    region: str
    account: str

    def foundation_model(self, model_id: str) -> str:
        """Return the ARN of a model of Bedrock's own, which belongs to no account."""
        return f"arn:aws:bedrock:{self.region}::foundation-model/{model_id}"

    def customization_job(self, base_model_id: str, job_name: str) -> str:
        """Return the ARN of the job of this name."""
        return self._owned(f"model-customization-job/{base_model_id}", job_name)

    def custom_model(self, base_model_id: str, job_name: str) -> str:
        """Return the ARN of the model that the job of this name makes."""
        return self._owned(f"custom-model/{base_model_id}", job_name)

    def deployment(self, name: str, generation: int) -> str:
        """Return the ARN of the n-th deployment of this name: AWS never gives an ARN twice."""
        return self._owned("custom-model-deployment", f"{name}#{generation}")

    def evaluation_job(self, name: str) -> str:
        """Return the ARN of the evaluation job of this name."""
        return self._owned("evaluation-job", name)

    def _owned(self, kind: str, name: str) -> str:
        digest = hashlib.sha256(f"{kind}/{name}".encode()).hexdigest()[:_ID_LENGTH]
        return f"arn:aws:bedrock:{self.region}:{self.account}:{kind}/{digest}"
