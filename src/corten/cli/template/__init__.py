"""Go's text/template as Docker's ``--format`` has it. Behaviour: https://pkg.go.dev/text/template (Go 1.24)."""

from corten.cli.template.engine import Template, TemplateError
from corten.cli.template.functions import FUNCTIONS, HEADER_FUNCTIONS
from corten.cli.template.parser import ParseFailure

__all__ = ["FUNCTIONS", "HEADER_FUNCTIONS", "ParseFailure", "Template", "TemplateError"]
