"""A dataset of sixteen files, over moto and the Bedrock fake: what is bought is bought once."""

from search_router.dependencies import dependencies
from search_router.domain.lifecycle.runs import Run, RunState
from tests.integration.material import labelled
from tests.integration.stack import Stack
from tests.records import gzipped

FOLDER = "prompts/monday/"
LINES = labelled(320).splitlines(keepends=True)
FILES = {
    f"part-{n:02d}.jsonl{'.gz' * (n % 2)}": (
        gzipped(b"".join(LINES[n::16])) if n % 2 else b"".join(LINES[n::16])
    )
    for n in range(16)
}


def upload_dataset(stack: Stack, step: int) -> Run:
    """Upload the files in an order of their own, then the marker; return the run."""
    for n in range(16):
        name = list(FILES)[n * step % 16]
        stack.upload(FOLDER + name, FILES[name])
    assert list(dependencies().runs.all()) == [] or step != 3, "files alone start nothing"
    return stack.run_of(stack.upload(f"{FOLDER}_SUCCESS", b""))


def test_sixteen_files_out_of_order_and_twice_are_one_training_set_and_one_job(
    stack: Stack,
) -> None:
    # GIVEN a dataset that was uploaded, and everything delivered twice
    stack.deliveries = 2
    first = upload_dataset(stack, 3)
    stack.deliver_events()
    # WHEN it is uploaded again in another order
    second = upload_dataset(stack, 5)
    stack.deliver_events()
    stack.end_jobs()
    # THEN both runs have the same bytes and wait for one job
    keys = [key for key in stack.world.data_objects() if key.endswith("training.jsonl")]
    bodies = {stack.world.data_objects()[key] for key in keys}
    assert (len(keys), len(bodies)) == (2, 1)
    assert (first.state, first.counts) == (RunState.SHARDED, second.counts)
    assert first.counts.rows_in == 320
    [request] = {
        call["jobName"]: call for call in stack.calls_of("CreateModelCustomizationJob")
    }.values()
    assert request["trainingDataConfig"]["s3Uri"].endswith("/training.jsonl")
    assert stack.bought()["jobs"] == 1
    listed = [call["Prefix"] for call in stack.calls_of("ListObjectVersions")]
    assert set(listed) == {FOLDER, "golden/"}
