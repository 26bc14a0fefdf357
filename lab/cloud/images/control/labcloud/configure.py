"""Writes the configuration of every service, and of supervisor, which runs them.

Everything listens on 127.0.0.1; haproxy in front of it speaks TLS. The passwords protect nothing but a lab.
"""

from pathlib import Path

REGION = "LAB1"
PASSWORD = "for-the-lab-only"  # noqa: S105
HOST = "node1"  # the hypervisor's name in every table; it outlives the container's
IDENTITY = "http://127.0.0.1:5000/v3"
CACHE = "127.0.0.1:11211"

Config = dict[str, dict[str, str | int]]


def database(name: str) -> dict[str, str | int]:
    """Where a service has its tables."""
    return {
        "connection": f"mysql+pymysql://os:os@127.0.0.1/{name}?charset=utf8",
        "max_pool_size": 5,
        "max_overflow": 30,
        "connection_recycle_time": 280,
    }


def login(user: str, **more: str | int) -> dict[str, str | int]:
    """How one service logs in to Keystone to talk to another."""
    return {
        "auth_type": "password",
        "auth_url": IDENTITY,
        "username": user,
        "password": PASSWORD,
        "user_domain_name": "Default",
        "project_name": "service",
        "project_domain_name": "Default",
        "region_name": REGION,
        **more,
    }


def clients(user: str) -> Config:
    """How a service checks the tokens that it is shown; links in its answers are the proxy's."""
    return {
        "keystone_authtoken": login(
            user,
            www_authenticate_uri=IDENTITY,
            memcached_servers=CACHE,
            # a credential that has expired or was withdrawn is known within seconds
            token_cache_time=10,
            interface="internal",
            service_token_roles="service",  # noqa: S106
            service_token_roles_required="true",  # noqa: S106
        ),
        "oslo_middleware": {"enable_proxy_headers_parsing": "true"},
    }


def service(user: str, default: dict[str, str | int]) -> Config:
    """What every service that talks over the queue has."""
    quiet = "amqp sqlalchemy oslo.messaging oslo_messaging stevedore keystonemiddleware urllib3 keystoneauth"
    return {
        "DEFAULT": {
            "transport_url": "rabbit://openstack:openstack@127.0.0.1:5672/",
            "use_stderr": "true",
            "default_log_levels": ",".join(f"{name}=WARN" for name in quiet.split()),
            **default,
        },
        "oslo_messaging_notifications": {"driver": "noop"},
        "oslo_messaging_rabbit": {"heartbeat_in_pthread": "false", "rpc_conn_pool_size": 10},
        "oslo_concurrency": {"lock_path": "/var/lib/labcloud/lock"},
        "oslo_policy": {"enforce_scope": "false", "enforce_new_defaults": "false"},
        **clients(user),
    }


KEYSTONE: Config = {
    "DEFAULT": {"use_stderr": "true"},
    "database": database("keystone"),
    "token": {"provider": "fernet", "expiration": 86400},
    # validity is looked up every time: expired and withdrawn credentials are refused at once
    "cache": {
        "enabled": "true",
        "backend": "dogpile.cache.memcached",
        "memcache_servers": CACHE,
        "expiration_time": 10,
    },
    "fernet_tokens": {"key_repository": "/etc/keystone/fernet-keys"},
    "credential": {"key_repository": "/etc/keystone/credential-keys"},
    # the default costs a third of a second for every login
    "identity": {"password_hash_rounds": 4},
    "oslo_middleware": {"enable_proxy_headers_parsing": "true"},
}

PLACEMENT: Config = {
    "DEFAULT": {"use_stderr": "true"},
    "api": {"auth_strategy": "keystone"},
    "placement_database": database("placement"),
    **clients("placement"),
}

GLANCE: Config = {
    **service("glance", {"bind_host": "127.0.0.1", "workers": 0, "enabled_backends": "fs:file"}),
    "database": database("glance"),
    "paste_deploy": {"flavor": "keystone"},
    "glance_store": {"default_backend": "fs"},
    "fs": {"filesystem_store_datadir": "/var/lib/glance/images"},
    "os_glance_staging_store": {"filesystem_store_datadir": "/var/lib/glance/staging"},
    "os_glance_tasks_store": {"filesystem_store_datadir": "/var/lib/glance/tasks"},
}

NOVA: Config = {
    **service(
        "nova",
        {
            "host": HOST,
            "my_ip": "127.0.0.1",
            "state_path": "/var/lib/nova",
            "compute_driver": "labcloud.ContainerDriver",
            "enabled_apis": "osapi_compute",
            "osapi_compute_listen": "127.0.0.1",
            "osapi_compute_workers": 1,
            "report_interval": 4,
            "service_down_time": 60,
            "sync_power_state_interval": 30,
            "block_device_allocate_retries_interval": 1,
            # a flavor takes what it says of the hypervisor's pretended size
            "initial_cpu_allocation_ratio": 1,
            "initial_ram_allocation_ratio": 1,
            "reserved_host_memory_mb": 0,
            "resume_guests_state_on_host_boot": "false",
            # nobody reports that a port is plugged
            "vif_plugging_is_fatal": "false",
            "vif_plugging_timeout": 0,
        },
    ),
    "api": {"auth_strategy": "keystone"},
    "api_database": database("nova_api"),
    "database": database("nova"),
    "service_user": login("nova", send_service_user_token="true"),  # noqa: S106
    "placement": login("placement", valid_interfaces="internal"),
    "neutron": login("neutron", valid_interfaces="internal"),
    "glance": {"api_servers": "http://127.0.0.1:9292"},
    "cinder": {"catalog_info": "volumev3::internalURL", "os_region_name": REGION},
    "scheduler": {"workers": 1},
    "conductor": {"workers": 1},
    "vnc": {"enabled": "false"},
    "cache": {"enabled": "true", "backend": "dogpile.cache.memcached", "memcache_servers": CACHE},
    "quota": {"instances": 10, "cores": 128, "ram": 4 * 1024 * 1024},
}

NEUTRON: Config = {
    **service(
        "neutron",
        {
            "host": HOST,
            "core_plugin": "ml2",
            "service_plugins": "labcloud.routers.ContainerRouterPlugin,tag",
            "auth_strategy": "keystone",
            "bind_host": "127.0.0.1",
            "api_workers": 0,
            "rpc_workers": 0,
            "rpc_state_report_workers": 0,
            "dhcp_agent_notification": "false",
            "allow_automatic_dhcp_failover": "false",
            "allow_automatic_l3agent_failover": "false",
            "api_paste_config": "/etc/neutron/api-paste.ini",
            "state_path": "/var/lib/neutron",
        },
    ),
    "database": database("neutron"),
    "nova": login("nova", endpoint_type="internal"),
    "placement": login("placement", endpoint_type="internal"),
    "quotas": {
        "quota_floatingip": 10,
        "quota_security_group": 10,
        "quota_security_group_rule": 100,
        "quota_port": 50,
    },
    "ml2": {
        "type_drivers": "flat,vxlan,local",
        "tenant_network_types": "vxlan",
        "mechanism_drivers": "labcloud",
        "extension_drivers": "port_security",
    },
    "ml2_type_flat": {"flat_networks": "*"},
    "ml2_type_vxlan": {"vni_ranges": "1:10000"},
    "securitygroup": {"enable_security_group": "true"},
}

CINDER: Config = {
    **service(
        "cinder",
        {
            "host": HOST,
            "my_ip": "127.0.0.1",
            "enabled_backends": "files",
            "default_volume_type": "ssd",
            "glance_api_servers": "http://127.0.0.1:9292",
            "osapi_volume_workers": 1,
            "osapi_volume_listen": "127.0.0.1",
            "api_paste_config": "/etc/cinder/api-paste.ini",
            "state_path": "/var/lib/cinder",
            "auth_strategy": "keystone",
            "report_interval": 4,
            "service_down_time": 60,
            # a scheduler that missed the first report hears the next soon
            "backend_stats_polling_interval": 10,
        },
    ),
    "files": {"volume_driver": "labcloud.volumes.SparseFileDriver", "volume_backend_name": "files"},
    "database": database("cinder"),
    "service_user": login("cinder", send_service_user_token="true"),  # noqa: S106
    "nova": login("nova", interface="internal"),
}


def write(path: str, config: Config) -> None:
    """An INI file as OpenStack and supervisor read it."""
    sections = (
        "\n".join([f"[{name}]", *(f"{k} = {v}" for k, v in body.items()), ""])
        for name, body in config.items()
    )
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(sections))


def main() -> None:
    """Every file, and the directories that the services expect."""
    services = {
        "keystone": KEYSTONE,
        "placement": PLACEMENT,
        "glance-api": GLANCE,
        "nova": NOVA,
        "neutron": NEUTRON,
        "cinder": CINDER,
    }
    for name, config in services.items():
        write(f"/etc/{name.split('-')[0]}/{name}.conf", config)
    for directory in ("labcloud/lock", "glance/images", "glance/staging", "glance/tasks", "nova/instances"):
        Path("/var/lib", directory).mkdir(parents=True, exist_ok=True)
    Path("/var/log/labcloud").mkdir(exist_ok=True)


if __name__ == "__main__":
    main()
