import torch

from SAMFinetuneLogic.finetuning.losses import automatic_loss, shown


def one_hot_logits(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return 20.0 * torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).float()


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_much():
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    labels[0, 2:9, 3:9], labels[1, 10:15, 1:6] = 1, 2
    content = torch.ones(2, 16, 16, dtype=torch.bool)
    assert automatic_loss(one_hot_logits(labels, 3), labels, content) < 1e-3
    assert automatic_loss(one_hot_logits((labels + 1) % 3, 3), labels, content) > 5


def test_agrees_with_the_formula():
    """Cross entropy and Dice with squared denominator, by hand."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 8, 8, generator=generator)
    labels = (torch.rand(1, 8, 8, generator=generator) < 0.4).long()
    p = torch.softmax(logits, 1)
    entropy = -torch.log(torch.where(labels == 1, p[:, 1], p[:, 0])).mean()
    dice = 1 - 2 * (p[:, 1] * labels).sum() / ((p[:, 1] ** 2).sum() + labels.sum())
    found = automatic_loss(logits, labels, torch.ones(1, 8, 8, dtype=torch.bool))
    assert torch.allclose(found, entropy + dice, atol=1e-4)


def test_background_and_padding_do_not_count_in_dice():
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[0, :2, :2] = 1
    content = torch.ones(1, 8, 8, dtype=torch.bool)
    content[:, :, 4:] = False
    outside = labels.clone()
    outside[:, :, 4:] = 1
    assert automatic_loss(one_hot_logits(outside, 2), labels, content) < 1e-3


def test_shown_is_the_best_rated_candidate_of_an_ambiguous_prompt():
    logits = torch.arange(4.0).view(1, 4, 1, 1).expand(2, 4, 2, 2)
    iou = torch.tensor([[0.9, 0.1, 0.7, 0.2], [0.9, 0.1, 0.7, 0.2]])
    found = shown(logits, iou, torch.tensor([True, False]))
    assert found[:, 0, 0, 0].tolist() == [2.0, 0.0]
