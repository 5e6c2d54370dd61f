"""What is compared, and where a goal is set."""

import dataclasses

import pytest
from int8_cases import ALL_PEERS, CASES, EAGER, ORT_FP32, ORT_STATIC, Case, Setting
from int8_sides import PEERS
from workload import study_params

ASYMMETRIC, STRIDE_1, SYMMETRIC = CASES


def test_networks_are_the_study_s_and_one_with_a_stride_less() -> None:
    committed = study_params().model
    for case in (ASYMMETRIC, SYMMETRIC):
        assert case.config == committed
    assert STRIDE_1.config == dataclasses.replace(committed, strides_removed=committed.strides_removed + 1)
    assert [case.symmetric for case in CASES] == [False, False, True]


@pytest.mark.parametrize(
    ("case", "setting", "goal"),
    [
        (ASYMMETRIC, Setting(1, 1), 1.6),
        (ASYMMETRIC, Setting(64, 1), 2.3),
        (STRIDE_1, Setting(1, 1), 2.1),
        (STRIDE_1, Setting(64, 1), 3.0),
        (SYMMETRIC, Setting(64, 1), None),
        (ASYMMETRIC, Setting(64, 2), None),
        (ASYMMETRIC, Setting(8, 1), None),
    ],
)
def test_goal_against_fp32_is_set_on_one_thread(case: Case, setting: Setting, goal: float | None) -> None:
    assert case.goal(ORT_FP32, setting) == goal


def test_goal_against_the_runtimes_own_quantizer_is_set_on_any_number_of_threads() -> None:
    settings = [Setting(batch, threads) for batch in (1, 64) for threads in (1, 2)]
    goals = [[case.goal(ORT_STATIC, setting) for setting in settings] for case in CASES]
    assert goals == [[0.98] * 4, [0.98] * 4, [None] * 4]


def test_no_other_peer_has_a_goal() -> None:
    assert ASYMMETRIC.goal(EAGER, Setting(1, 1)) is None


def test_every_peer_can_be_prepared() -> None:
    assert set(PEERS) == set(ALL_PEERS)
    assert all(set(case.peers) <= set(PEERS) for case in CASES)


def test_installed_looks_for_the_package() -> None:
    assert PEERS[ORT_FP32].installed
    assert not type(PEERS[ORT_FP32])("no_such_package", PEERS[ORT_FP32].prepare).installed
