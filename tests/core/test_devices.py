"""One device against eight, and blocks of tasks: the same meta-iteration within rounding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # a minute of compiling for eight devices

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def said() -> str:
    """What ``eight_devices.py`` printed, which checks what it says."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8",
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
    }
    command = [sys.executable, HERE / "eight_devices.py"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_eight_devices_give_the_gradients_of_one(said):
    assert said.count("same:") == 4
    assert "layouts: as they should be\n" in said


def test_a_population_on_eight_devices_is_that_on_one(said):
    """Four members, each with its tasks on two devices."""
    assert said.endswith("population: the same\n")
