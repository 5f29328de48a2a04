import numpy as np
import pytest
import torch

from SAMFinetuneLogic.fewshot.dense import fit_estimator, fit_linear, mean_of


def separable(seed=0):
    """An embedding in whose first two channels two classes stand out."""
    rng = np.random.default_rng(seed)
    owner = np.zeros((8, 8), dtype=int)
    owner[1:4, 1:4], owner[5:7, 2:7] = 1, 2
    features = rng.normal(0, 0.3, (6, 8, 8)).astype(np.float32)
    features[0] += 3 * (owner == 1)
    features[1] += 3 * (owner == 2)
    fractions = np.stack([owner == n for n in range(3)]).astype(np.float32)
    return torch.from_numpy(features), torch.from_numpy(fractions)


@pytest.mark.parametrize("kind", ["classifier", "prototypes"])
def test_estimators_find_the_classes_on_a_new_slice(kind):
    train, query = separable(0), separable(1)
    estimator = fit_estimator(kind, [train[0]], [train[1]])
    logits = estimator.logits(query[0])
    found = torch.cat([torch.zeros(1, 8, 8), logits]).argmax(0)
    assert float((found == query[1].argmax(0)).float().mean()) > 0.95
    assert logits.shape == (2, 8, 8) and float(logits.abs().max()) <= 7


def test_the_padding_does_not_count():
    features, fractions = separable(0)
    wide = torch.cat([features, torch.full((6, 8, 8), 50.0)], 2)
    padded = torch.cat([fractions, torch.zeros(3, 8, 8)], 2)
    one, other = fit_estimator("classifier", [features], [fractions]), fit_estimator("classifier", [wide], [padded])
    torch.testing.assert_close(one.classifier.weight, other.classifier.weight)


def test_the_regression_is_at_the_minimum_of_its_loss():
    features, fractions = separable(0)
    rows, targets = features.flatten(1).T, fractions.flatten(1).T
    fitted = fit_linear(rows, targets)
    standard = (rows - rows.mean(0)) / rows.std(0, correction=0)

    def loss(weight, bias):
        entropy = -(targets * torch.log_softmax(standard @ weight.T + bias, 1)).sum(1).mean()
        return float(entropy + 1e-3 * weight.square().sum())

    best = loss(fitted.weight, fitted.bias)
    rng = torch.Generator().manual_seed(0)
    for _ in range(20):
        step = 0.05 * torch.randn(fitted.weight.shape, generator=rng)
        assert loss(fitted.weight + step, fitted.bias) > best


def test_the_mean_of_two_classifiers_is_that_of_their_logits():
    (one, fractions), (other, _) = separable(0), separable(1)
    first, second = (
        fit_estimator("classifier", [one], [fractions]),
        fit_estimator("classifier", [3 * other], [fractions]),
    )
    query = separable(2)[0]
    rows = query.flatten(1).T
    expected = (first.classifier.logits(rows) + second.classifier.logits(rows)) / 2
    torch.testing.assert_close(mean_of(first, second).classifier.logits(rows), expected, rtol=1e-4, atol=1e-4)
