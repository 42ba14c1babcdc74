"""Pages that exchanges send with their errors, and the failure of a collection."""

import pytest

from collector.exchange.failures import ExchangeFailure
from collector.run.retry_policy import RetryPolicy
from support.collecting import Exchanges

NO_RETRIES = RetryPolicy(max_retries=0, max_retries_by_class={})
HTML = "<html><head><title>Attention Required!</title></head><body><h1>Sorry</h1></body></html>"
CLOUDFRONT_COUNTRY = """<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY>
<H1>403 ERROR</H1><H2>The request could not be satisfied.</H2>
The Amazon CloudFront distribution is configured to block access from your country. We can't connect to the server for
this app or website at this time. There might be too much traffic or a configuration error.</BODY></HTML>"""

CLOUDFRONT_BLOCKED = """<HTML><BODY><H1>403 ERROR</H1>Request blocked. We can't connect to the server for this app or
website at this time. There might be too much traffic or a configuration error.</BODY></HTML>"""

CLOUDFLARE_COUNTRY = """<html><head><title>Access denied</title></head><body>Error 1009. The owner of this website
(api.example.com) has banned the country or region your IP address is in (XX) from accessing it.</body></html>"""

CHALLENGE = """<html><head><title>Just a moment...</title><style>#region {color: red}</style><script>
window.location.reload(); var country = "restricted";</script></head><body>Enable JavaScript and cookies to continue
</body></html>"""

PAGES = (HTML, CLOUDFRONT_COUNTRY, CLOUDFRONT_BLOCKED, CLOUDFLARE_COUNTRY, CHALLENGE)
NOW_MS = 1_748_865_630_000
MINUTE_ROW = [NOW_MS // 60_000 * 60_000 - 60_000, "1.0", "2.0", "0.5", "1.5", "10"]


async def failure_from(exchange: str, exchanges: Exchanges) -> ExchangeFailure:
    with pytest.raises(ExchangeFailure) as caught:
        await exchanges.collect(exchange, policy=NO_RETRIES)
    return caught.value
