"""Names: every program's spelling finds its sampler, and no two samplers share one."""

from __future__ import annotations

import dataclasses
import re
from itertools import chain
from pathlib import Path

import pytest

from sfumato.diffusion import (
    DEFAULT_SAMPLER,
    SAMPLERS,
    SCHEDULES,
    find_sampler,
    find_schedule,
    schedule_of,
    split_label,
    split_options,
)

# Labels and aliases of A1111 (modules/sd_samplers_kdiffusion.py, sd_samplers_timesteps.py).
A1111 = {
    "DPM++ 2M": "dpmpp_2m", "k_dpmpp_2m": "dpmpp_2m", "DPM++ SDE": "dpmpp_sde",
    "k_dpmpp_sde": "dpmpp_sde", "DPM++ 2M SDE": "dpmpp_2m_sde", "k_dpmpp_2m_sde": "dpmpp_2m_sde",
    "DPM++ 2M SDE Heun": "dpmpp_2m_sde_heun", "k_dpmpp_2m_sde_heun": "dpmpp_2m_sde_heun",
    "DPM++ 2S a": "dpmpp_2s_a", "k_dpmpp_2s_a": "dpmpp_2s_a", "DPM++ 3M SDE": "dpmpp_3m_sde",
    "k_dpmpp_3m_sde": "dpmpp_3m_sde", "Euler a": "euler_a", "k_euler_a": "euler_a",
    "k_euler_ancestral": "euler_a", "Euler": "euler", "k_euler": "euler", "LMS": "lms",
    "k_lms": "lms", "Heun": "heun", "k_heun": "heun", "DPM2": "dpm2", "k_dpm_2": "dpm2",
    "DPM2 a": "dpm2_a", "k_dpm_2_a": "dpm2_a", "DDIM": "ddim", "ddim": "ddim", "PLMS": "plms",
    "plms": "plms", "UniPC": "unipc", "unipc": "unipc", "LCM": "lcm", "DEIS": "deis",
    "DDPM": "ddpm", "IPNDM": "ipndm",
}  # fmt: skip
# Names in ComfyUI (comfy/samplers.py) and k-diffusion (sampling.py, without `sample_`).
COMFYUI = {
    "euler": "euler", "euler_ancestral": "euler_a", "heun": "heun", "dpm_2": "dpm2",
    "dpm_2_ancestral": "dpm2_a", "lms": "lms", "dpmpp_2s_ancestral": "dpmpp_2s_a",
    "dpmpp_sde": "dpmpp_sde", "dpmpp_sde_gpu": "dpmpp_sde", "dpmpp_2m": "dpmpp_2m",
    "dpmpp_2m_sde": "dpmpp_2m_sde", "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "dpmpp_2m_sde_heun": "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu": "dpmpp_2m_sde_heun",
    "dpmpp_3m_sde": "dpmpp_3m_sde", "dpmpp_3m_sde_gpu": "dpmpp_3m_sde", "ddpm": "ddpm",
    "lcm": "lcm", "ipndm": "ipndm", "deis": "deis", "ddim": "ddim", "uni_pc": "unipc",
    "uni_pc_bh2": "unipc",
}  # fmt: skip
SD_CPP = {
    "euler": "euler", "euler_a": "euler_a", "heun": "heun", "dpm2": "dpm2",
    "dpm++2s_a": "dpmpp_2s_a", "dpm++2m": "dpmpp_2m", "ipndm": "ipndm", "lcm": "lcm", "tcd": "tcd",
}  # fmt: skip
DIFFUSERS = {
    "EulerDiscreteScheduler": "euler", "EulerAncestralDiscreteScheduler": "euler_a",
    "HeunDiscreteScheduler": "heun", "KDPM2DiscreteScheduler": "dpm2",
    "KDPM2AncestralDiscreteScheduler": "dpm2_a", "LMSDiscreteScheduler": "lms",
    "DPMSolverMultistepScheduler": "dpmpp_2m", "DPMSolverSinglestepScheduler": "dpmpp_2s",
    "DPMSolverSDEScheduler": "dpmpp_sde", "UniPCMultistepScheduler": "unipc",
    "DEISMultistepScheduler": "deis", "DDIMScheduler": "ddim", "DDPMScheduler": "ddpm",
    "PNDMScheduler": "plms", "LCMScheduler": "lcm", "TCDScheduler": "tcd",
}  # fmt: skip
EVERYWHERE = sorted(set(chain(*(names.items() for names in (A1111, COMFYUI, SD_CPP, DIFFUSERS)))))


@pytest.mark.parametrize(("alias", "name"), EVERYWHERE)
def test_every_programs_name_is_known(alias: str, name: str) -> None:
    for spelling in (alias, alias.upper(), alias.lower(), f" {alias} "):
        assert find_sampler(spelling) is SAMPLERS[name]


def test_rows_find_themselves() -> None:
    for name, row in SAMPLERS.items():
        assert row.name == name
        assert find_sampler(row) is row
        for spelling in (row.name, row.label, *row.aliases):
            assert find_sampler(spelling) is row


def test_no_name_means_two_things() -> None:
    for table in (SAMPLERS, SCHEDULES):
        owners: dict[str, str] = {}
        for row in table.values():
            for spelling in (row.name, row.label, *row.aliases):
                plain = re.sub("[ _-]", "", spelling.lower().replace("++", "pp"))
                assert owners.setdefault(plain, row.name) == row.name, spelling
            assert len(set(row.aliases)) == len(row.aliases)


def test_samplers_carry_known_schedules() -> None:
    for row in SAMPLERS.values():
        assert find_schedule(row.schedule).name == row.schedule


def test_the_default_is_dpmpp_2m_on_karras() -> None:
    row = SAMPLERS[DEFAULT_SAMPLER]
    assert (row.name, row.label, row.schedule) == ("dpmpp_2m", "DPM++ 2M", "karras")


@pytest.mark.parametrize("name", ["", "dpm fast", "DPM adaptive", "Restart", "nonsense"])
def test_unknown_samplers_list_the_known(name: str) -> None:
    message = rf"`sampler` must be one of {', '.join(SAMPLERS)}\. Received: sampler='{name}'"
    with pytest.raises(ValueError, match=message):
        find_sampler(name)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("DPM++ 2M", ("dpmpp_2m", None)),
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("dpm++ 2m sde exponential", ("dpmpp_2m_sde", "exponential")),
        ("DPM2 a Karras", ("dpm2_a", "karras")),
        ("Euler a", ("euler_a", None)),
        ("Euler SGM Uniform", ("euler", "sgm_uniform")),
        ("Euler a Align Your Steps", ("euler_a", "ays")),
        ("DDIM DDIM", ("ddim", "leading")),
        ("euler_a", ("euler_a", None)),
        # As programs that save pictures of ComfyUI write both
        ("euler_simple", ("euler", "simple")),
        ("euler_ancestral_normal", ("euler_a", "uniform")),
        ("dpmpp_2m_sde_gpu_karras", ("dpmpp_2m_sde", "karras")),
        ("dpmpp_3m_sde_gpu_sgm_uniform", ("dpmpp_3m_sde", "sgm_uniform")),
        ("dpmpp_2m (karras)", ("dpmpp_2m", "karras")),
        ("DPM++ 2M - Karras", ("dpmpp_2m", "karras")),
        ("euler / ddim_uniform", ("euler", "leading")),
        ("dpm++2m_exponential", ("dpmpp_2m", "exponential")),
    ],
)
def test_labels_name_a_sampler_and_perhaps_its_schedule(
    label: str, expected: tuple[str, str | None]
) -> None:
    assert split_label(label) == expected


def test_every_sampler_with_every_schedule_is_a_label() -> None:
    for row in SAMPLERS.values():
        for levels in SCHEDULES.values():
            assert split_label(f"{row.label} {levels.label}") == (row.name, levels.name)


def test_names_of_comfyui_with_a_schedule_are_labels() -> None:
    schedules = ["normal", "karras", "exponential", "sgm_uniform"]
    schedules += ["simple", "ddim_uniform", "beta", "kl_optimal"]
    for sampler, name in COMFYUI.items():
        for schedule in schedules:
            expected = (name, find_schedule(schedule).name)
            assert split_label(f"{sampler}_{schedule}") == expected


@pytest.mark.parametrize("label", ["", " ", "Karras", "DPM++ 2M nonsense", "nonsense Karras"])
def test_labels_of_nothing_known_are_errors_of_the_sampler(label: str) -> None:
    with pytest.raises(
        ValueError, match=rf"`sampler` must be one of .*sampler='{re.escape(label)}'"
    ):
        split_label(label)


def test_the_own_schedule() -> None:
    row = SAMPLERS["dpmpp_2m_sde"]
    for name in (None, "automatic", "Automatic", "exponential", SCHEDULES["exponential"]):
        assert schedule_of(row, name) is SCHEDULES["exponential"]


def test_options_go_to_whom_they_belong() -> None:
    options = {"eta": 0.5, "rho": 5.0}
    assert split_options("k_euler_a", "Karras", options) == ({"eta": 0.5}, {"rho": 5.0})
    assert split_options("dpm++ sde", None, {"rho": 3}) == ({}, {"rho": 3})
    assert split_options("euler", "ays", {"family": "sdxl"}) == ({}, {"family": "sdxl"})
    assert split_options("euler", None, {}) == ({}, {})


def test_no_option_is_a_samplers_and_a_schedules() -> None:
    of_samplers = {name for row in SAMPLERS.values() for name in row.options}
    of_schedules = {name for row in SCHEDULES.values() for name in row.options}
    assert of_samplers == {"eta", "order"}
    assert not of_samplers & of_schedules


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"order": 2, "rho": 5.0, "churn": 1},
            r"`sampler_options` .*\['eta', 'rho'\].* 'euler_a' .* 'karras'\. .*'churn', 'order'",
        ),
        ({"eta": 1.5}, "`eta` must be from 0.0 to 1.0. Received: eta=1.5"),
        ({"rho": float("nan")}, "`rho` must be from .* Received: rho=nan"),
        ({"eta": "0.5"}, "`eta` must be from .* Received: eta='0.5'"),
    ],
)
def test_options_of_neither_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_options("euler_a", "karras", options)


def test_rows_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SAMPLERS["euler"].schedule = "karras"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        SAMPLERS["dpm2"].fixed["eta"] = 1.0  # pyright: ignore[reportIndexIssue]


def test_functions_are_short_and_name_their_source() -> None:
    for row in SAMPLERS.values():
        assert row.function.__doc__, row.name
        assert re.search(r"20\d\d|k-diffusion", row.function.__doc__), row.name


PAGE = (Path(__file__).parents[2] / "docs" / "samplers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_reference_page_has_every_sampler(name: str) -> None:
    row = SAMPLERS[name]
    (line,) = re.findall(
        rf"^\| `{name}` \| {re.escape(row.label)} \| {row.schedule} \|.*", PAGE, re.M
    )
    assert all(f"`{option}`" in line for option in row.options)
    assert all(alias in line for alias in row.aliases if alias.endswith("Scheduler"))


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_reference_page_has_every_schedule(name: str) -> None:
    assert f"| `{name}` | {SCHEDULES[name].label} |" in PAGE


def test_the_examples_of_the_reference_page_run() -> None:
    """Those of the mathematics; tests/docs runs those that load a model."""
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    examples = [example for example in examples if "sfumato.load" not in example]
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "samplers.md", "exec"), {})
