"""Agreement, completeness and perturbation metrics once more, slowly, from their formulas: loops. No captum_xg."""

from __future__ import annotations

import math


def paper_difference(attributions, references):
    """Eq. 14 over lists of examples, each a list of numbers; 0/0 is 0 and x/0 infinite."""
    total, count = 0.0, 0
    for a, r in zip(attributions, references, strict=True):
        for a_i, r_i in zip(a, r, strict=True):
            count += 1
            if a_i != r_i:
                total += abs(r_i - a_i) / abs(r_i) if r_i else math.inf
    return total / count


def released_difference(batches):
    """The mean over batches, pairs of lists of examples, of mean|R − A| / (mean|R| + 1e-7)."""
    ratios = []
    for attributions, references in batches:
        a = [value for example in attributions for value in example]
        r = [value for example in references for value in example]
        distance = sum(abs(x - y) for x, y in zip(r, a, strict=True)) / len(a)
        ratios.append(distance / (sum(map(abs, r)) / len(r) + 1e-7))
    return sum(ratios) / len(ratios)


def completeness_gap(attributions, outputs, outputs_of_baseline, relative):
    """The mean over examples, from lists of numbers."""
    gaps = []
    for a, f, f0 in zip(attributions, outputs, outputs_of_baseline, strict=True):
        gap = abs(sum(a) - (f - f0))
        if relative and gap:
            gap = gap / abs(f - f0) if f != f0 else math.inf
        gaps.append(gap)
    return sum(gaps) / len(gaps)


def pearson(xs, ys):
    """Pearson's correlation of two lists that both vary."""
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    products = sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True))
    return products / math.sqrt(sum((x - mx) ** 2 for x in xs) * sum((y - my) ** 2 for y in ys))


def sensitivity_n(attributions, output, removed, outputs):
    """One point of the curve of one example: sets of removed features and the outputs without them."""
    return pearson([sum(attributions[i] for i in s) for s in removed], [output - f for f in outputs])


def infidelity(attributions, output, perturbations, outputs):
    """The mean over perturbations of (I·A − (F(x) − F(x_I)))² for one example."""
    errors = []
    for perturbation, f in zip(perturbations, outputs, strict=True):
        predicted = sum(i * a for i, a in zip(perturbation, attributions, strict=True))
        errors.append((predicted - (output - f)) ** 2)
    return sum(errors) / len(errors)


def expected_infidelity_of_removal(errors, probability):
    """E[(Σ Iᵢeᵢ)²] for independent Bernoulli Iᵢ, e the error of the attribution of each input of a linear model."""
    variance = probability * (1 - probability) * sum(e * e for e in errors)
    return variance + (probability * sum(errors)) ** 2


def max_sensitivity(attributions, perturbed_attributions):
    """The largest ‖A' − A‖/‖A‖ for one example, divided by 1 where A = 0."""
    norm = math.sqrt(sum(a * a for a in attributions)) or 1.0
    distances = [
        math.sqrt(sum((p - a) ** 2 for p, a in zip(other, attributions, strict=True)))
        for other in perturbed_attributions
    ]
    return max(distances) / norm
