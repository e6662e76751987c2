"""Findings of certificate, numeric check and conversion: one printer, and remedies that know conversion."""

import pickle
from dataclasses import asdict, fields, replace

from captum_xg._core.finding import listed, or_convert
from captum_xg.homogeneity import Culprit, Violation
from captum_xg.xdnn import Unconverted

FIX = or_convert("put nn.ReLU there")


def test_the_printer_says_a_remedy_once_for_those_in_a_row_that_share_it():
    findings = [Violation(path, "op", "m.py:3", "is curved", FIX, "GELU") for path in "abc"]
    findings[2] = replace(findings[2], remedy="Pad with zeros", further=(("", "m.py:4", "pads"),))
    assert listed(findings, "Found:", None, "here") == [
        "  Found:",
        "    a (GELU): is curved  [op, m.py:3]",
        "    b (GELU): is curved  [op, m.py:3]",
        "      → Use to_xdnn(model), or put nn.ReLU there.",
        "    c (GELU): is curved  [op, m.py:3]",
        "      also pads  [m.py:4]",
        "      → Pad with zeros.",
    ]
    assert listed(findings, "Found:", 1, "here")[-1] == "    … and 2 more (all in here)"
    assert listed([], "Found:", None, "here") == []


def test_what_is_left_to_do_after_conversion_leaves_its_advice_out_wherever_it_stands():
    assert Violation("", "", "", "", FIX).without_conversion == "Put nn.ReLU there"
    both = f"Pad with zeros. {FIX}. {or_convert('leave it out')}"
    assert Violation("", "", "", "", both).without_conversion == "Pad with zeros. Put nn.ReLU there. Leave it out"
    assert Violation("", "", "", "", "use it").without_conversion == "use it"


def test_public_findings_are_made_of_the_fields_that_they_always_had():
    assert str(Violation("0", "op", "m.py:3", "adds", "Drop it")) == "0: adds  [op, m.py:3]\n  → Drop it."
    culprit = Culprit(module="0", kind="Linear", reason="adds", remedy="Drop it", location="m.py:3")
    assert (culprit.kind, str(culprit)) == ("Linear", "0 (Linear): adds")
    assert str(replace(culprit, module="")) == "the model itself (Linear): adds [m.py:3]"
    assert replace(culprit, kind="Conv2d").name == "0 (Conv2d)"
    left = Unconverted("0", "Linear", "adds", "Drop it", "m.py:3")
    same = {"reason": "adds", "remedy": "Drop it", "location": "m.py:3"}
    assert asdict(culprit) == {"module": "0", "kind": "Linear", **same}
    assert asdict(left) == {"module": "0", "type": "Linear", **same}
    assert list(asdict(left)) == ["module", "type", "reason", "remedy", "location"]
    assert replace(left, location="") == Unconverted("0", "Linear", "adds", "Drop it") != left


def test_findings_are_values():
    for finding in (Violation(*"abcde"), Culprit(*"abcd"), Unconverted(*"abcd")):
        copy = pickle.loads(pickle.dumps(finding))
        assert (copy, hash(copy), repr(copy)) == (finding, hash(finding), repr(finding))
        assert all(f"{field.name}='" in repr(finding) for field in fields(finding)[:4])
