"""Is it right? Verification of hand-derived rules, of ours and of any JAX program's."""

from ..core.forward_mode import forward_mode as forward_mode
from .api import assert_verified as assert_verified
from .api import verify as verify
from .api import verify_rules as verify_rules
from .audit import Audit as Audit
from .audit import Site as Site
from .audit import audit as audit
from .checks.result import CheckResult as CheckResult
from .points import arguments as arguments
from .report import Verification as Verification
from .report import VerificationError as VerificationError
from .report import table as table
