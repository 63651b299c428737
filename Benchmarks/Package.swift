// swift-tools-version: 6.2
import PackageDescription

/// A package of its own, so that nobody who depends on the library ever resolves or builds it.
let strict: [CSetting] = [
    .enableWarning("all"),
    .enableWarning("extra"),
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "millrace-benchmarks",
    targets: [
        // C, so that what the client costs cannot change with the library it measures.
        .executableTarget(name: "load-client", cSettings: strict),
        .target(name: "serving", cSettings: strict),
        .executableTarget(name: "c-epoll-echo", dependencies: ["serving"], cSettings: strict),
        .executableTarget(name: "c-fixed-reply", dependencies: ["serving"], cSettings: strict),
        .executableTarget(
            name: "c-udp-echo", dependencies: ["serving"], cSettings: strict,
            linkerSettings: [.linkedLibrary(":liburing.a")]),
        .executableTarget(
            name: "c-uring-echo", dependencies: ["serving"], cSettings: strict,
            linkerSettings: [.linkedLibrary(":liburing.a")]),
        .executableTarget(
            name: "c-uring-trial", dependencies: ["serving"], cSettings: strict,
            linkerSettings: [.linkedLibrary(":liburing.a")]),
    ]
)
