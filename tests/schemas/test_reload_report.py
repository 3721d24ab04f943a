"""The answer to a reload, as programs read it."""

from __future__ import annotations

from schemas.reload_report import ReloadReport


def test_a_reader_of_version_1_finds_these_words_and_takes_no_offence_at_later_ones() -> None:
    told = (
        '{"format_version":1,"generation":4,"observed_generation":3,"digest":"ab","accepted":true,'
        '"in_force":false,"problems":[],"failed":[{"resource":"listener 0.0.0.0:443","message":"taken",'
        '"more":1}],"more":2}'
    )

    report = ReloadReport.model_validate_json(told)

    assert report.model_dump_json() == told.replace(',"more":1', "").replace(',"more":2', "")
