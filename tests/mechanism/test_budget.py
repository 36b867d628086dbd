"""Budgets and quotas: every form that is documented, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.mechanism.budget import Budget, Quota, parse_budget, parse_quota, parse_quotas

FORMS = {
    "10B": (10_000_000_000, "tokens"),
    "250M": (250_000_000, "tokens"),
    "250m": (250_000_000, "tokens"),
    "100k": (100_000, "tokens"),
    "1.1B": (1_100_000_000, "tokens"),
    "1.5G-tokens": (1_500_000_000, "tokens"),
    "2T": (2_000_000_000_000, "tokens"),
    "5000": (5_000, "tokens"),
    " 1_000_000 ": (1_000_000, "tokens"),
    "1,000,000": (1_000_000, "tokens"),
    "1e9": (1_000_000_000, "tokens"),
    "100k-docs": (100_000, "documents"),
    "1-doc": (1, "documents"),
    "1.5M-documents": (1_500_000, "documents"),
    "10%": (0.1, "share"),
    "0.5 %": (0.005, "share"),
    "150%": (1.5, "share"),
    "5GB": (5_000_000_000, "bytes"),
    "5gb": (5_000_000_000, "bytes"),
    "10kB": (10_000, "bytes"),
    "1.5 MB": (1_500_000, "bytes"),
    "200MiB": (200 * 2**20, "bytes"),
    "1KiB": (1024, "bytes"),
    "2G-bytes": (2_000_000_000, "bytes"),
    "512-bytes": (512, "bytes"),
}
WRONG = [
    "",
    "B",
    "ten",
    "-5",
    "0",
    "0%",
    "-10%",
    "10 %%",
    "1,5B",
    "1,00",
    "10X",
    "10-words",
    "5GBs",
]
WRONG += [
    "0.5",
    "1.2345k-docs",
    "1.5-docs",
    "10B tokens",
    "\u0661\u0662",
    "1e999",
    "nan",
    "inf",
    "10BB",
]
WRONG += ["100E", "9e18k", "10iB", "1e400000000"]


@pytest.mark.parametrize("text", FORMS)
def test_documented_forms(text):
    amount, unit = FORMS[text]
    assert parse_budget(text) == Budget(amount, unit)


@pytest.mark.parametrize("text", WRONG)
def test_refused_forms_list_what_is_allowed(text):
    with pytest.raises(ConfigError, match="budget"):
        parse_budget(text)


def test_unreadable_text_lists_the_forms():
    with pytest.raises(ConfigError, match=r"'ten': write 10B or 250M .*100k-docs.*10%.*5GB"):
        parse_budget("ten")


def test_python_numbers():
    assert parse_budget(1_000) == parse_budget(1e3) == Budget(1_000)
    assert parse_budget(Budget(3)) == Budget(3)
    with pytest.raises(ConfigError, match=r'did you mean "10%"'):
        parse_budget(0.1)
    for wrong in (0, -1, 2.5, float("nan"), float("inf"), True, None, 2**63):
        with pytest.raises(ConfigError):
            parse_budget(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no unit 'words'"):
        Budget(1, "words")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="whole number"):
        Budget(1.5)


def test_shares_are_resolved_exactly():
    assert parse_budget("10%").resolve(1_005) == Budget(100)
    assert parse_budget("33.3%").resolve(10_000) == Budget(3_330)
    assert parse_budget("70%").resolve(10**15) == Budget(7 * 10**14)
    assert parse_budget("1%").resolve(3) == Budget(1)
    assert parse_budget("7GB").resolve(3) == Budget(7_000_000_000, "bytes")


@given(st.integers(1, 2**63 - 1), st.sampled_from(["tokens", "documents", "bytes"]))
def test_budgets_round_trip_through_text(amount, unit):
    assert parse_budget(str(Budget(amount, unit))) == Budget(amount, unit)


def test_budgets_as_text():
    for text in ("10B", "250M", "1.25M", "100k-docs", "10%", "0.5%", "5GB", "512-bytes", "1234"):
        assert str(parse_budget(text)) == text
    assert str(parse_budget("200MiB")) == "209715200-bytes"
    assert str(Budget(411_337_830)) == "411337830"
    assert str(Budget(3_000_000_000, "documents")) == "3G-docs"


@given(st.integers(1, 10**6).map(lambda n: n / 10**6))
def test_shares_round_trip_through_text(share):
    assert parse_budget(str(Budget(share, "share"))) == Budget(share, "share")


def test_quotas():
    assert parse_quota("domain=web:30%") == Quota("domain", "web", Budget(0.3, "share"))
    assert parse_quota("source:1000-docs") == Quota("source", None, Budget(1000, "documents"))
    assert parse_quota("meta.url=https://a.org/?q=1:5M") == Quota(
        "meta.url", "https://a.org/?q=1", Budget(5_000_000)
    )
    assert parse_quota("domain=:5") == Quota("domain", "", Budget(5))


@pytest.mark.parametrize(
    "text", ["domain", "domain=web", ":5", "=web:5", "domain=web:", "source<=5"]
)
def test_unreadable_quotas(text):
    with pytest.raises(ConfigError, match=r"quota .*write "):
        parse_quota(text)


def test_quotas_from_python():
    assert parse_quotas(None) == ()
    assert parse_quotas({"domain": {"web": 0.3, "books": "1k-docs"}, "source": 1000}) == (
        Quota("domain", "web", Budget(0.3, "share")),
        Quota("domain", "books", Budget(1000, "documents")),
        Quota("source", None, Budget(1000)),
    )
    assert parse_quotas({"label": {3: 1.0}}) == (Quota("label", "3", Budget(1.0, "share")),)
    assert parse_quotas("domain=web:30%") == parse_quotas(["domain=web:30%"])
    assert parse_quotas([Quota("a", None, Budget(5))]) == parse_quotas(["a:5"])
    with pytest.raises(ConfigError, match=r"two quotas for one part of the pool: a=b:6"):
        parse_quotas(["a=b:5", "a=b:6"])
    with pytest.raises(ConfigError, match=r"in the quota 'domain=web:lots'"):
        parse_quotas({"domain": {"web": "lots"}})


@given(
    st.text(st.characters(exclude_characters="=:", exclude_categories=["Z", "C"]), min_size=1),
    st.none() | st.text(),
    st.integers(1, 10**9),
)
def test_quotas_round_trip_through_text(field, value, amount):
    quota = Quota(field, value, Budget(amount))
    assert parse_quota(str(quota)) == quota
