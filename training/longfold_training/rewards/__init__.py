"""What an answer is worth: a rule first, then, where the rule cannot tell, an LLM judge. Knows no engine's weights and
no advantages."""

from longfold_training.rewards.adversarial import adversarial
from longfold_training.rewards.grade import Grade, Grader, Score
from longfold_training.rewards.judge import Case, Judge, Verdicts, probe
from longfold_training.rewards.memory import MemoryRewards
from longfold_training.rewards.rules import AnyRule, Choice, Cover, Exact, Items, Number, Ratio, Rule
from longfold_training.rewards.validate import validate

__all__ = [
    "AnyRule",
    "Case",
    "Choice",
    "Cover",
    "Exact",
    "Grade",
    "Grader",
    "Items",
    "Judge",
    "MemoryRewards",
    "Number",
    "Ratio",
    "Rule",
    "Score",
    "Verdicts",
    "adversarial",
    "probe",
    "validate",
]
