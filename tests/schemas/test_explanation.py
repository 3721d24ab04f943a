"""An explanation, as programs read it."""

from __future__ import annotations

from schemas.explanation import Explanation


def test_a_reader_of_version_1_finds_these_words_and_takes_no_offence_at_later_ones() -> None:
    told = (
        '{"format_version":1,"listen":"443","kind":"tls","name":"a.test","served":true,'
        '"gets":"the service web","listener":"0.0.0.0:443","match":{"tunnel":"a","hostname":null},"next":[],'
        '"client":"homelab","service":"web","why":["It is so."],"generation":4,"accepted":true'
    )

    assert Explanation.model_validate_json(f'{told},"more":1}}').model_dump_json() == f"{told}}}"
