"""The plugin that brings ``macros.dpone.*`` into every template.

It is registered as an entry point of the group ``airflow.plugins``. The key ``plugins`` of a provider's
metadata would not do: by default (``[core] lazy_discover_providers``) Airflow 2.11 and 3.3 leave it unread. And not
both: with that option off, Airflow 3.3 stops at the first plugin whose name it knows and drops all that follow.
https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/plugins.html
https://airflow.apache.org/docs/apache-airflow/stable/configurations-ref.html#lazy-discover-providers
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin

from dpone_airflow.plugins import macros


class DponePlugin(AirflowPlugin):
    """``{{ macros.dpone.clickhouse_table(ti.xcom_pull('stage')) }}`` and its like."""

    name = "dpone"
    macros = [getattr(macros, name) for name in macros.__all__]  # noqa: RUF012 - Airflow's own form
