# Two images from one file: the broker (the default) and the operator.
#
#   docker build -t tandemmq/broker:0.1.0 .
#   docker build -t tandemmq/operator:0.1.0 --target operator .
#
# Two, because a broker needs nothing of the operator, and what is not in an image cannot be attacked. Both
# roots are made by tools/rootfs.sh, which also makes those of the tests on Kubernetes.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release -p tandemmq && cargo build --locked --release -p tandemmq-operator \
    && tools/rootfs.sh target/release/tandemmq /broker \
    && tools/rootfs.sh target/release/tandemmq-operator /operator

FROM scratch AS operator
COPY --from=build /operator /
USER 10001:10001
ENTRYPOINT ["/usr/bin/tandemmq-operator"]

FROM scratch AS broker
COPY --from=build /broker /
USER 10001:10001
ENTRYPOINT ["/usr/bin/tandemmq"]
