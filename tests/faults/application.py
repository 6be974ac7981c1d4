"""`tests.faults.application:application`: what tests.faults.server serves, for any
ASGI server.
"""

from asgi import application as whole
from tests.faults import failpoints
from tests.faults.server import wrap

failpoints.install()
application = wrap(whole)
