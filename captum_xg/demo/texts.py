"""A small text network that comes with the package: a CNN of degree 1, trained on rated sentences of film reviews.

The sentences are those of ``vaderSentiment`` (MIT licence), which do not come with the package: only weights and the
words that were frequent do.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from captum_xg._core.files import make_folder, require_writable, write_tensors
from captum_xg._core.options import file_path
from captum_xg._core.reading import is_share, is_text, read_tensors, require_fields, unreadable
from captum_xg.assets import ASSETS
from captum_xg.datasets.vocabulary import Vocabulary
from captum_xg.models import load_checkpoint, xtext_cnn
from captum_xg.models.text import TextCNN

TEXT_FILE = "film_reviews_xtext_cnn.pt"
TEXT_LICENCE_FILE = "film_reviews_licence.txt"
_LEAST = 5
"""How often a word is in the training sentences at least; others are unknown."""


def demo_text_model(*, folder: str | Path = ASSETS) -> tuple[TextCNN, Vocabulary]:
    """Return a text CNN of degree 1 that tells whether a sentence speaks well of a film, and its words.

    Args:
        folder: Where the file of weights lies.

    Returns:
        The network in evaluation mode, from ids ``(N, T)`` to logits ``(N, 2)``, negative and positive; and the
        vocabulary that makes ids of sentences.

    Raises:
        FileError: If the file is missing or damaged.
        CheckpointError: If its weights are those of another network.

    Example:
        >>> model, vocabulary = demo_text_model()
        >>> bool(model(vocabulary.encode(["a superb film"]))[0].argmax())
        True
    """
    path = file_path(folder, "folder", "demo_text_model") / TEXT_FILE
    content = _content(path)
    vocabulary = Vocabulary(tuple(content["words"].split("\n")))
    model = _network(len(vocabulary))
    load_checkpoint(model, path)
    return model.eval(), vocabulary


def text_record(folder: str | Path = ASSETS) -> dict[str, float]:
    """Return how good the shipped network is on sentences that it was not trained on.

    ``accuracy`` of the class, ``words``: rank correlation of X-Gradient by word with the human lexicon.

    Raises:
        FileError: If the file is missing or damaged.
    """
    path = file_path(folder, "folder", "text_record") / TEXT_FILE
    return {name: float(value) for name, value in _content(path)["record"].items()}


def retrain_text(data: str | Path, destination: str | Path = ASSETS, *, seed: int = 0) -> dict[str, float]:
    """Train the network on the film sentences in a folder, and write the file that is shipped.

    Args:
        data: Where the files of vaderSentiment lie; see :func:`captum_xg.datasets.sentiment.load_sentences`.
        destination: The folder that the file is written to.
        seed: Of the initial weights and the order of the sentences.

    Returns:
        As :func:`text_record`.

    Raises:
        FileError: If the data are missing, or the file cannot be written.
    """
    import torch

    from captum_xg.datasets.sentiment import load_lexicon, load_sentences
    from captum_xg.repro.texts.agreement import spearman
    from captum_xg.repro.texts.data import divided
    from captum_xg.repro.texts.explaining import by_word, x_gradient
    from captum_xg.repro.texts.settings import PRESETS
    from captum_xg.repro.texts.training import fit, scored, scores

    path = make_folder(destination) / TEXT_FILE
    require_writable(path)
    settings = replace(PRESETS["full"], max_length=64, epochs=12, batch_size=128, learning_rate=2e-3)
    task = divided(load_sentences(data), load_lexicon(data), settings, known=False, least=_LEAST)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _network(len(task.vocabulary))
        with torch.no_grad():
            model.embedding.weight.mul_(0.1)
    train, validation, test = (part.classified() for part in (task.train, task.validation, task.test))
    fit(model, train, validation, settings, seed)
    model.half().float()  # as it is shipped
    words = by_word(x_gradient(scored(model)), task.test.ids, task)
    record = {"accuracy": scores(model, test)["accuracy"], "words": float(spearman(words, task.valences))}
    weights = {name: tensor.half() for name, tensor in model.state_dict().items()}
    write_tensors(path, {"words": "\n".join(task.vocabulary.words), "state_dict": weights, "record": record})
    return record


def _network(vocab_size: int) -> TextCNN:
    return xtext_cnn(vocab_size, d_model=12, windows=(1, 2, 3), filters=32, dropout=0.3)


def _content(path: Path) -> dict[str, Any]:
    content = read_tensors(path)
    try:
        require_fields(
            content, {"words": is_text, "state_dict": lambda w: isinstance(w, dict), "record": lambda r: True}
        )
        require_fields(content["record"], {"accuracy": is_share, "words": is_share})
    except ValueError as error:
        raise unreadable(path, f"it is not as demo_text_model needs it ({error})") from error
    return dict(content)
