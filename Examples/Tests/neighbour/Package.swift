// swift-tools-version: 6.2
import PackageDescription

/// Another package, whose targets have the names of the folders of this library. Names of targets
/// are global in a package graph, so the build of `consumer` fails if the library uses them too.
let names = ["CLinux", "CURing", "Epoll", "EventLoop", "Simulation", "Uring"]

let package = Package(
    name: "neighbour",
    products: [.library(name: "Neighbour", targets: names)],
    targets: names.map { .target(name: $0, path: "Sources/\($0)") }
)
