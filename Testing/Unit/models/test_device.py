"""Which device and precision are chosen, without assuming what this machine has."""

import pytest
import torch

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models import device as module
from SAMFinetuneLogic.models.device import choose_device, choose_precision, cpu_has_bf16_units, describe_device


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_falls_back_to_the_cpu(no_accelerator):
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


def test_auto_prefers_cuda_then_mps(no_accelerator, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device().type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert choose_device() == torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [("cuda", "CUDA"), ("cuda:3", "CUDA"), ("mps", "Apple"), ("gpu", "not a device"), ("xla", "not supported")],
)
def test_an_absent_device_is_a_sentence(no_accelerator, name, message):
    with pytest.raises(ModelError, match=message):
        choose_device(name)


def test_an_index_beyond_the_last_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ModelError, match="1 CUDA device"):
        choose_device("cuda:1")


def test_precision_follows_the_capability(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    monkeypatch.setattr(module, "cpu_has_bf16_units", lambda: True)
    assert choose_precision(cpu) == "bf16"
    assert choose_precision(cpu, gains_on_cpu=False) == "fp32"
    monkeypatch.setattr(module, "cpu_has_bf16_units", lambda: False)
    assert choose_precision(cpu) == "fp32"
    assert choose_precision(cpu, "bf16") == "bf16"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert choose_precision(gpu) == "fp16"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert choose_precision(gpu) == "bf16"
    with pytest.raises(ModelError, match="not a precision"):
        choose_precision(cpu, "int8")
    with pytest.raises(ModelError, match="fp16"):
        choose_precision(cpu, "fp16")


def test_the_capability_check_answers_on_any_platform(monkeypatch):
    assert cpu_has_bf16_units() in (True, False)
    cpu_has_bf16_units.cache_clear()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    monkeypatch.setattr(module.sys, "platform", "win32")
    assert cpu_has_bf16_units() is False
    cpu_has_bf16_units.cache_clear()


def test_the_description_names_device_and_precision():
    text = describe_device(torch.device("cpu"), "bf16")
    assert "CPU" in text and "bf16" in text
