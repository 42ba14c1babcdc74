"""The state of the services."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends

from admin_api.routes.dependencies import PREFIX, Provided, declared_token, needs, problems
from admin_api.services.monitor import ServiceMonitor, ServiceState
from admin_api.writes.actors import Role

router = APIRouter(prefix=PREFIX, tags=["operations"], dependencies=[declared_token, needs(Role.VIEWER)])

SERVICE_MONITOR: Final = Provided[ServiceMonitor]("service monitor")


@router.get("/services", responses=problems(), summary="Whether each service works, and its lag")
async def list_services(monitor: Annotated[ServiceMonitor, Depends(SERVICE_MONITOR)]) -> list[ServiceState]:
    """From the consumer groups in Kafka, read at most every five seconds. This API itself is not in the list, because
    its response shows that it works.
    """
    return await monitor.states()
