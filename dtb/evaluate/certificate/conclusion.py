"""What the tests of a certificate come to, in a word and a sentence, and which tests could not be made."""

from __future__ import annotations

from dtb.evaluate.certificate.certificate import CertificateTest
from dtb.evaluate.certificate.comparisons import BEYOND, beyond_known
from dtb.evaluate.certificate.fit import Conclusion
from dtb.evaluate.certificate.wording import FEWEST_FOR_A_CLAIM, SEEDS_FOR_A_CLAIM
from dtb.evaluate.predictors.retrained_kinds import RETRAINED
from dtb.evaluate.scores.covariates import SHARE_KNOWN, Covariates
from dtb.evaluate.scores.figure import Figure


def conclude(
    tests: list[CertificateTest], covariates: Covariates, are_seen: bool, num_people: int, num_seeds: int
) -> tuple[Conclusion, str]:
    """Return what the tests of a certificate come to: whether the twin is personal, in a word and in a sentence.

    Parameters
    ----------
    tests : list of CertificateTest
        With their verdicts.
    covariates : Covariates
    are_seen : bool
        Whether the people tested were seen in training; then nothing is personal.
    num_people : int
    num_seeds : int
        Trainings that the figures rest on.

    Returns
    -------
    Conclusion, str
    """
    whom = f"{num_people} {'person' if num_people == 1 else 'people'}"
    few = (
        f"{whom} support{'s' if num_people == 1 else ''} no claim between people "
        f"(at least {FEWEST_FOR_A_CLAIM} unseen people are asked for)"
    )
    if are_seen:
        return "no", (
            f"This twin may not be called personal: the {whom} were seen in training, where a code number in place of the connectome could "
            "score as well; only unseen people can show what a connectome says."
            + (f" And {few}." if num_people < FEWEST_FOR_A_CLAIM else "")
        )
    if num_people < FEWEST_FOR_A_CLAIM:
        return "undecided", f"Whether this twin is personal cannot be said: {few}."
    of_use = [test for test in tests if test.kind == "connectome"]
    of_person = [test for test in tests if test.kind == "person" and test.metric in BEYOND]
    tasks_of_use = {test.task for test in of_use if test.verdict == "yes"}
    passed = [test for test in of_person if test.verdict == "yes"]
    both = [test for test in passed if test.task in tasks_of_use]
    if both:
        words = _what_holds(both, [test for test in tests if test.kind == "baseline" and test.verdict == "yes"])
        if num_seeds >= SEEDS_FOR_A_CLAIM:
            return "yes", f"This twin is personal, for {whom} it had not seen, in this: {words}"
        shown = "one training shows" if num_seeds == 1 else f"{num_seeds} trainings show"
        return "provisional", (
            f"As far as {shown}, this twin is personal, for {whom} it had not seen, in this: {words} Another training could come out "
            f"otherwise: a claim needs {SEEDS_FOR_A_CLAIM} seeds (dtb train --seed 0 to {SEEDS_FOR_A_CLAIM - 1} with the same split.seed, "
            "dtb evaluate each, then dtb pool)."
        )
    missing = []
    if not tasks_of_use:
        missing.append("that its connectome is of use to it")
    if not passed:
        beyond = f",{beyond_known(covariates)}" if covariates.known else ""
        missing.append(f"that what it says of a person is that person's{beyond}")
    if not missing:
        missing.append(
            f"both in one task: its connectome is of use to it in {', '.join(sorted(tasks_of_use))}, and what it says of a person is that "
            f"person's in {', '.join(sorted({test.task for test in passed}))}"
        )
    verdict: Conclusion = "no" if _is_ruled_out(of_use, of_person) else "undecided"
    word = "is not shown to be personal" if verdict == "undecided" else "is not personal"
    needs = ""
    if verdict == "undecided" and covariates.lacking:
        needs = f" Undecided: needs {covariates.lacking_in_words} of at least {SHARE_KNOWN:.0%} of the people."
    return verdict, f"This twin {word}: in {whom} it had not seen, it does not show {' nor '.join(missing)}.{needs}"


def _is_ruled_out(of_use: list[CertificateTest], of_person: list[CertificateTest]) -> bool:
    """Return whether in every task one of the two things that are asked for is answered by no alone; what
    was not tested rules nothing out."""
    tasks = {test.task for test in (*of_use, *of_person)}

    def fails(tests: list[CertificateTest], task: str) -> bool:
        mine = [test for test in tests if test.task == task]
        return bool(mine) and all(test.verdict == "no" for test in mine)

    return bool(tasks) and all(fails(of_use, task) or fails(of_person, task) for task in tasks)


def _what_holds(passed: list[CertificateTest], best: list[CertificateTest]) -> str:
    """Return in words in what a twin is personal, in which tasks and by how many people each, and which baselines it beats."""
    tasks_of: dict[str, list[str]] = {}
    for test in passed:
        tasks_of.setdefault(test.claim, []).append(f"{test.task}: {test.gain.num_people} people")
    what = "; ".join(f"{claim} ({', '.join(tasks)})" for claim, tasks in tasks_of.items())
    beaten = (
        "the baseline that predicts training people best"
        if all(each.is_best_picked for each in best)
        else "every baseline"
    )
    regression = (
        f"It beats {beaten} at {', '.join(f'{test.metric} ({test.task})' for test in best)}."
        if best
        else "It beats no baseline that it is compared with: a regression would do as well."
    )
    return f"{what}. {regression}"


def compares_connectomes(figures: list[Figure]) -> bool:
    """Return whether the twin was given other connectomes too; not where nobody of the people tested has one."""
    return any("mean_connectome" in figure.baselines for figure in figures)


def not_tested(figures: list[Figure], covariates: Covariates, are_seen: bool, num_seeds: int) -> tuple[str, ...]:
    """Return what was not tested, each with what it needs.

    Parameters
    ----------
    figures : list of Figure
    covariates : Covariates
    are_seen : bool
        Whether the people tested were seen in training.
    num_seeds : int
        Trainings that the figures rest on.

    Returns
    -------
    tuple of str
    """
    missing, metrics = [], {figure.metric for figure in figures}
    if covariates.lacking:
        missing.append(
            f"beyond {covariates.lacking_in_words}: needs {'these' if len(covariates.lacking) > 1 else 'it'} of at least "
            f"{SHARE_KNOWN:.0%} of the people, in participants.tsv (motion: in the confounds of the rest scan)"
        )
    elif "mean RT partial r" not in metrics:
        missing.append(f"{beyond_known(covariates).strip()}: needs more people than these can explain")
    if "condition effect r" not in metrics:
        missing.append("condition effects: need a task with a contrast of conditions")
    if "BOLD map r" not in metrics:
        missing.append("BOLD: needs task series and a contrast of conditions")
    if are_seen:
        missing.append("unseen people: need split.kind: subjects, sites or tasks")
    compared = {name for figure in figures for name in figure.baselines}
    if not compares_connectomes(figures):
        missing.append("what a connectome adds: nobody of the people tested has one")
    absent = [
        f"{kind.words} (dtb evaluate --retrained {kind.name})"
        for kind in RETRAINED
        if kind.predictor not in compared and (are_seen or not kind.needs_seen_people)
    ]
    if not any(figure.permuted for figure in figures):
        absent.append("permuted connectomes (dtb evaluate --num-permuted 19)")
    if absent:
        missing.append(f"against networks trained anew: {'; '.join(absent)}")
    if num_seeds < SEEDS_FOR_A_CLAIM:
        missing.append(
            f"other trainings: this rests on {num_seeds} {'seed' if num_seeds == 1 else 'seeds'}; train with at least {SEEDS_FOR_A_CLAIM} "
            "(--seed) and take their evaluations together (dtb pool) before you claim anything"
        )
    return tuple(missing)
