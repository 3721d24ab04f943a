"""Ansible on this machine alone: its settings are ours, and what it keeps is in a directory of the test."""

from __future__ import annotations

import os
from pathlib import Path


def settings(home: Path) -> dict[str, str]:
    """The environment of its commands, free of whatever settings this machine has."""
    home.mkdir(exist_ok=True)
    config = home / "ansible.cfg"
    config.touch()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    return {
        **inherited,
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_HOME": str(home),
        "ANSIBLE_LOCAL_TEMP": str(home / "local"),
        "ANSIBLE_REMOTE_TEMP": str(home / "remote"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
        "LC_ALL": "C.UTF-8",  # it refuses to run without UTF-8
    }
