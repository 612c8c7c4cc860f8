"""These tests build networks of their own, which only root may."""

import os
import shutil
from collections.abc import Iterator

import pytest

from network.namespaces import Network

TOOLS = ("ip", "nft", "tc")


@pytest.fixture(autouse=True)
def _can_build_networks() -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.fail(f"{', '.join(missing)} is missing: apt install iproute2 nftables")


@pytest.fixture
def network(_can_build_networks: None) -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def network6(_can_build_networks: None) -> Iterator[Network]:
    with Network("IPv6") as network:
        yield network
