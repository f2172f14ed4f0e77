"""Is it right? Verification of hand-derived rules."""

from .report import Check as Check
from .report import Verification as Verification
from .report import VerificationError as VerificationError
from .report import table as table
from .verifier import assert_verified as assert_verified
from .verifier import verify as verify
from .verifier import verify_rules as verify_rules
