"""bpf/abi.h and datapath/abi.py held together: by BTF of the header, and by BTF of the very object that loads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.datapath import abi, ahead
from bgpbridge.datapath.sources import Sources
from bgpbridge.datapath.specs import Sizes, specs

pytestmark = pytest.mark.root
STRUCTS = {
    "lpm4_key": abi.LPM4_KEY,
    "lpm6_key": abi.LPM6_KEY,
    "group": abi.GROUP,
    "slot_line": abi.SLOT_LINE,
    "adjacency": abi.ADJACENCY,
    "control": abi.CONTROL,
    "index4_line": abi.INDEX4_LINE,
    "index6_slots": abi.INDEX6_PAIR,
    "index6_line": abi.INDEX6_LINE,
    "counter": abi.COUNTER,
    "interface": abi.INTERFACE,
    "place": np.dtype([("ifindex", "<u4"), ("outer", "<u2"), ("inner", "<u2")]),
    "rtt_start": abi.RTT_START,
    "rtt_ring": abi.RTT_RING,
    "trace_filter": abi.TRACE_FILTER,
    "trace_record": abi.TRACE_RECORD,
    "trace_ring": abi.TRACE_RING,
}
ENUMS = {
    "reason": {**{r.name: r.value for r in abi.Reason}, "REASONS": len(abi.Reason)},
    "group_flag": {f"GROUP_F_{flag.name}": flag.value for flag in abi.GroupFlag},
    "control_flag": {f"CONTROL_F_{flag.name}": flag.value for flag in abi.ControlFlag},
    "tag_flag": {f"TAG_F_{flag.name}": flag.value for flag in abi.TagFlag},
    "adjacency_state": {f"ADJACENCY_{state.name}": state.value for state in abi.AdjacencyState},
    "group_id": {
        "GROUP_NONE": abi.GROUP_NONE,
        "GROUP_PUNT": abi.GROUP_PUNT,
        "GROUP_BLACKHOLE": abi.GROUP_BLACKHOLE,
        "GROUP_FIRST_FREE": abi.GROUP_FIRST_FREE,
    },
}
CONSTANTS = (
    "LAYOUT",
    "GROUP_SLOTS",
    "MAX_GROUPS",
    "MAX_ADJACENCIES",
    "MAX_INTERFACES",
    "RTT_STARTS",
    "RTT_SAMPLES",
    "INDEX4_SLOTS",
    "INDEX4_PAGE",
    "INDEX4_PAGES",
    "INDEX4_LINES",
    "INDEX4_DEEP",
    "INDEX6_SHORT",
    "INDEX6_SLOTS",
    "INDEX6_WORDS",
    "INDEX6_HEAD",
    "INDEX6_POINTER",
    "INDEX6_GROUP",
    "TRACE_RECORDS",
    "TRACE_OCTETS",
    "SOURCE_BITS",
)


def btf_types(path: Path) -> list[dict]:
    done = subprocess.run(["bpftool", "-j", "btf", "dump", "file", str(path)], check=True, capture_output=True)
    return json.loads(done.stdout)["types"]


@pytest.fixture(scope="module")
def header_types(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """BTF of abi.h alone, every type of it used once, its constants as array lengths."""
    folder = tmp_path_factory.mktemp("abi")
    names = [f"struct {name} s_{name};" for name in STRUCTS] + [f"enum {name} e_{name};" for name in ENUMS]
    sizes = [f"char c_{name}[{name}];" for name in CONSTANTS]
    (folder / "abi.c").write_text('#include "compat.h"\n#include "abi.h"\n' + "\n".join(names + sizes) + "\n")
    ours = Sources.ours()
    command = ["clang", "-O2", "-g", "-target", "bpf", *ours.include_flags, "-c", "abi.c", "-o", "abi.o"]
    subprocess.run(command, cwd=folder, check=True)
    return btf_types(folder / "abi.o")


def offsets(dtype: np.dtype) -> list[tuple[str, int]]:
    return [(name, dtype.fields[name][1] * 8) for name in dtype.names]


@pytest.mark.parametrize("name", STRUCTS)
def test_a_struct_has_the_fields_that_numpy_reads(header_types: list[dict], name: str) -> None:
    found = next(t for t in header_types if t["kind"] == "STRUCT" and t["name"] == name)
    assert found["size"] == STRUCTS[name].itemsize
    assert [(member["name"], member["bits_offset"]) for member in found["members"]] == offsets(STRUCTS[name])


@pytest.mark.parametrize("name", ENUMS)
def test_an_enum_has_the_same_names_and_numbers(header_types: list[dict], name: str) -> None:
    found = next(t for t in header_types if t["kind"] == "ENUM" and t["name"] == name)
    assert {value["name"]: value["val"] for value in found["values"]} == ENUMS[name]


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_is_the_same_on_both_sides(header_types: list[dict], name: str) -> None:
    by_id = {t["id"]: t for t in header_types}
    variable = next(t for t in header_types if t["kind"] == "VAR" and t["name"] == f"c_{name}")
    assert by_id[variable["type_id"]]["nr_elems"] == getattr(abi, name)


def test_the_object_that_loads_names_the_maps_that_we_make(tmp_path: Path) -> None:
    types = btf_types(ahead.object_file(Sources.ours(), tmp_path))
    by_id = {t["id"]: t for t in types}
    section = next(t for t in types if t["kind"] == "DATASEC" and t["name"] == ".maps")
    found = {by_id[variable["type_id"]]["name"] for variable in section["vars"]}
    assert found == {spec.name for spec in specs(Sizes())}
