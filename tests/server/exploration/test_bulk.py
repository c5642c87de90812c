"""Rows go to the database and come back as they were."""

import uuid

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from server.exploration import bulk
from server.exploration.bulk import BOOLEAN, DOUBLE, INTEGER, UUID, Layout, halfvec, vector
from server.exploration.scores import pack

LAYOUT = Layout(
    {"id": UUID, "number": INTEGER, "figure": DOUBLE, "flag": BOOLEAN, "half": halfvec(3), "whole": vector(2)}
)


class TestRoundTrip:
    def test_keeps_every_value(self, session: Session) -> None:
        ids = [uuid.uuid4(), uuid.UUID(int=0), uuid.UUID(int=2**128 - 256)]
        rows = LAYOUT.empty(3)
        rows["id"] = pack(ids)
        rows["number"] = [1, -2, 2**31 - 1]
        rows["figure"] = [0.1, -1e300, 0]
        rows["flag"] = [True, False, True]
        rows["half"]["values"] = [[1, 2, 3], [0.5, -0.25, 0], [6e4, 1e-4, -1]]
        rows["whole"]["values"] = [[1.5, -2.5], [0, 0], [1e30, 1e-30]]

        with bulk.staged(session, "staged_rows", LAYOUT, rows):
            session.execute(text("CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM staged_rows"))
        found = bulk.read(session, LAYOUT, "SELECT * FROM kept WHERE number <> %(not)s", {"not": 0})

        order = [ids.index(uuid.UUID(bytes=row["id"].tobytes())) for row in found]
        assert found.tobytes() == rows[order].tobytes()

    def test_no_rows_are_no_trouble(self, session: Session) -> None:
        with bulk.staged(session, "staged_rows", LAYOUT, LAYOUT.empty(0)):
            assert len(bulk.read(session, LAYOUT, "SELECT * FROM staged_rows", {})) == 0

    def test_the_temporary_table_goes_with_its_block(self, session: Session) -> None:
        for _ in range(2):
            with bulk.staged(session, "staged_rows", LAYOUT, LAYOUT.empty(1)):
                pass


class TestOtherRows:
    @pytest.mark.parametrize(
        "query",
        [
            "SELECT NULL::integer AS n",
            "SELECT 1::bigint AS n",
            "SELECT 1 AS n, 2 AS m",
        ],
    )
    def test_are_refused_and_not_misread(self, session: Session, query: str) -> None:
        with pytest.raises(ValueError, match=r"layout|width"):
            bulk.read(session, Layout({"n": INTEGER}), query, {})
