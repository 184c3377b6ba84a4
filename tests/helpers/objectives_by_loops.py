"""The objectives written out in plain Python, to be slow and obviously right."""

import math

Rows = list[list[float]]


def cosine(u: list[float], v: list[float]) -> float:
    return dot(u, v) / math.sqrt(dot(u, u) * dot(v, v))


def dot(u: list[float], v: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(u, v, strict=True))


def info_nce_loops(
    x: Rows,
    y: Rows,
    *,
    temperature: float = 0.05,
    similarity: str = "cosine",
    direction: str = "symmetric",
    negatives: str = "other",
    groups: list[int] | None = None,
    present: list[bool] | None = None,
) -> float:
    sim = cosine if similarity == "cosine" else dot

    def one_way(anchors: Rows, others: Rows) -> float:
        clips = [i for i in range(len(anchors)) if present is None or present[i]]
        losses = []
        for i in clips:
            positive = sim(anchors[i], others[i]) / temperature
            scores = [positive]
            for j in clips:
                if are_negatives(i, j, groups):
                    scores.append(sim(anchors[i], others[j]) / temperature)
                    if negatives == "both":
                        scores.append(sim(anchors[i], anchors[j]) / temperature)
            losses.append(-math.log(math.exp(positive) / math.fsum(math.exp(score) for score in scores)))
        return math.fsum(losses) / len(losses) if losses else 0.0

    return one_way(x, y) if direction == "one" else (one_way(x, y) + one_way(y, x)) / 2


def softmax(scores: list[float]) -> list[float]:
    exponentials = [math.exp(score) for score in scores]
    return [value / math.fsum(exponentials) for value in exponentials]


def cross_entropy_loops(passes: list[Rows], labels: list[int], class_weights: list[float] | None = None) -> float:
    losses = []
    for logits in passes:
        total = seen = 0.0
        for row, label in zip(logits, labels, strict=True):
            if label != -100:
                weight = class_weights[label] if class_weights else 1.0
                total -= weight * math.log(softmax(row)[label])
                seen += weight
        losses.append(total / seen if seen else 0.0)
    return math.fsum(losses) / len(losses)


def r_drop_loops(first: Rows, second: Rows, labels: list[int]) -> float:
    losses = []
    for row, other, label in zip(first, second, labels, strict=True):
        if label != -100:
            p, q = softmax(row), softmax(other)
            forward = math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
            backward = math.fsum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
            losses.append((forward + backward) / 2)
    return math.fsum(losses) / len(losses) if losses else 0.0


def are_negatives(i: int, j: int, groups: list[int] | None) -> bool:
    return i != j and (groups is None or groups[i] != groups[j] or groups[i] < 0)


def siglip_loops(
    x: Rows,
    y: Rows,
    bias: float,
    *,
    temperature: float,
    similarity: str = "cosine",
    groups: list[int] | None = None,
    present: list[bool] | None = None,
) -> float:
    sim = cosine if similarity == "cosine" else dot
    clips = [i for i in range(len(x)) if present is None or present[i]]
    losses = []
    for i in clips:
        for j in clips:
            if i == j or are_negatives(i, j, groups):
                answer = 1 if i == j else -1
                losses.append(math.log(1 + math.exp(-answer * (sim(x[i], y[j]) / temperature + bias))))
    return math.fsum(losses) / len(clips) if clips else 0.0


def infoloob_loops(
    x: Rows,
    y: Rows,
    *,
    temperature: float = 0.05,
    similarity: str = "cosine",
    direction: str = "symmetric",
    negatives: str = "other",
    groups: list[int] | None = None,
    present: list[bool] | None = None,
) -> float:
    sim = cosine if similarity == "cosine" else dot

    def one_way(anchors: Rows, others: Rows) -> float:
        clips = [i for i in range(len(anchors)) if present is None or present[i]]
        losses = []
        for i in clips:
            wrong = [others[j] for j in clips if are_negatives(i, j, groups)]
            if negatives == "both":
                wrong += [anchors[j] for j in clips if are_negatives(i, j, groups)]
            below = math.fsum(math.exp(sim(anchors[i], row) / temperature) for row in wrong)
            losses.append(math.log(below) - sim(anchors[i], others[i]) / temperature if wrong else 0.0)
        return math.fsum(losses) / len(losses) if losses else 0.0

    return one_way(x, y) if direction == "one" else (one_way(x, y) + one_way(y, x)) / 2


def volume(*vectors: list[float]) -> float:
    """Product of the heights: what is left of each vector of length 1 beyond those before it (Gram-Schmidt)."""
    product, axes = 1.0, []
    for vector in vectors:
        rest = [value / math.sqrt(dot(vector, vector)) for value in vector]
        for axis in axes:
            along = dot(rest, axis)
            rest = [value - along * step for value, step in zip(rest, axis, strict=True)]
        height = math.sqrt(dot(rest, rest))
        product *= height
        axes.append([value / height for value in rest])
    return product


def gram_loops(
    x: Rows,
    y: Rows,
    *,
    temperature: float = 0.05,
    direction: str = "symmetric",
    negatives: str = "other",
    groups: list[int] | None = None,
    present: list[bool] | None = None,
) -> float:
    def one_way(anchors: Rows, others: Rows) -> float:
        clips = [i for i in range(len(anchors)) if present is None or present[i]]
        losses = []
        for i in clips:
            candidates = [others[j] for j in clips if i == j or are_negatives(i, j, groups)]
            if negatives == "both":
                candidates += [anchors[j] for j in clips if are_negatives(i, j, groups)]
            below = math.fsum(math.exp(-volume(anchors[i], row) / temperature) for row in candidates)
            losses.append(math.log(below) + volume(anchors[i], others[i]) / temperature)
        return math.fsum(losses) / len(losses) if losses else 0.0

    return one_way(x, y) if direction == "one" else (one_way(x, y) + one_way(y, x)) / 2


def cyclic_loops(
    x: Rows, y: Rows, *, similarity: str = "cosine", present: list[bool] | None = None
) -> tuple[float, float]:
    sim = cosine if similarity == "cosine" else dot
    clips = [i for i in range(len(x)) if present is None or present[i]]
    couples = [(j, k) for j in clips for k in clips]
    in_modal = math.fsum((sim(x[j], x[k]) - sim(y[j], y[k])) ** 2 for j, k in couples)
    cross_modal = math.fsum((sim(x[j], y[k]) - sim(x[k], y[j])) ** 2 for j, k in couples)
    return (in_modal / len(clips), cross_modal / len(clips)) if clips else (0.0, 0.0)


def supcon_loops(
    views: list[Rows],
    labels: list[int],
    *,
    temperature: float = 0.07,
    similarity: str = "cosine",
    groups: list[int] | None = None,
    present: list[list[bool] | None] | None = None,
) -> float:
    sim = cosine if similarity == "cosine" else dot
    everyone = [
        (view, clip)
        for view in range(len(views))
        for clip in range(len(labels))
        if present is None or present[view] is None or present[view][clip]
    ]

    def belong_together(i: int, j: int) -> bool:
        return i == j or (labels[i] == labels[j] and labels[i] >= 0)

    losses = []
    for one in everyone:
        others = [other for other in everyone if other != one]
        positives = [other for other in others if belong_together(one[1], other[1])]
        compared = [o for o in others if o in positives or are_negatives(one[1], o[1], groups)]

        def score(other: tuple[int, int], one: tuple[int, int] = one) -> float:
            return sim(views[one[0]][one[1]], views[other[0]][other[1]]) / temperature

        if positives:
            below = math.log(math.fsum(math.exp(score(other)) for other in compared))
            losses.append(math.fsum(below - score(other) for other in positives) / len(positives))
    return math.fsum(losses) / len(losses) if losses else 0.0
