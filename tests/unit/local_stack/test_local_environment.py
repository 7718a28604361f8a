"""Nothing that could bill an account, or reach past this machine, gets to a child process."""

from pathlib import Path

from local_stack.ministack_server import server_environment
from local_stack.processes import new_caller, scrub

HOSTILE = {
    "PATH": "/bin",
    "HOME": "/home/user",
    "AWS_PROFILE": "production",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "token",
    "AWS_CONFIG_FILE": "/home/user/.aws/config",
    "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2/credentials",
    "HTTPS_PROXY": "http://proxy.example:3128",
    "http_proxy": "http://proxy.example:3128",
    "DOCKER_HOST": "tcp://docker.example:2375",
    "PYTHONPATH": "/elsewhere",
}


def test_scrub_keeps_the_path_and_nothing_of_the_user() -> None:
    clean = scrub(HOSTILE, home=Path("/stack"))

    assert clean["PATH"] == "/bin"
    assert set(HOSTILE.values()) & set(clean.values()) == {"/bin"}
    assert clean["HOME"] == clean["TMPDIR"] == "/stack"


def test_the_emulator_and_its_workers_get_no_variable_of_the_user() -> None:
    environment = server_environment(HOSTILE, folder=Path("/stack"), port=4000, caller=new_caller())

    assert set(HOSTILE.values()) & set(environment.values()) == {"/bin"}
    assert environment["AWS_ACCESS_KEY_ID"].startswith("AKIA")
    # A daemon would make the emulator remove containers when it starts.
    assert environment["DOCKER_HOST"].startswith("unix:///stack/")
