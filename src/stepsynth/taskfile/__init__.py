"""The task file: YAML, checked and resolved into the objects of a run."""

from stepsynth.taskfile.checks import PASSAGE_COLUMNS, check_curation, find_idle
from stepsynth.taskfile.config import Config, build_config, load_config
from stepsynth.taskfile.llm_section import chosen_phases
from stepsynth.taskfile.schema import task_file_schema
from stepsynth.taskfile.yaml_lines import LocatedYaml, build, parse_value, parse_yaml, read_yaml

__all__ = [
    "PASSAGE_COLUMNS",
    "Config",
    "LocatedYaml",
    "build",
    "build_config",
    "check_curation",
    "chosen_phases",
    "find_idle",
    "load_config",
    "parse_value",
    "parse_yaml",
    "read_yaml",
    "task_file_schema",
]
