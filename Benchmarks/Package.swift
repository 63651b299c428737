// swift-tools-version: 6.2
import PackageDescription

let strict: [CSetting] = [
    .enableWarning("all"),
    .enableWarning("extra"),
    .treatAllWarnings(as: .error),
]

let openSSL: [LinkerSetting] = [.linkedLibrary("ssl"), .linkedLibrary("crypto")]

// A separate package, so that a project that uses the library never resolves or builds it.
let package = Package(
    name: "millrace-benchmarks",
    targets: [
        // In C, so that the client's cost cannot change with the library that it measures.
        .executableTarget(
            name: "load-client", dependencies: ["measuring"], cSettings: strict),
        .executableTarget(
            name: "tls-load-client", dependencies: ["measuring"], cSettings: strict,
            linkerSettings: openSSL),
        .target(name: "measuring", cSettings: strict),
        .target(name: "serving", cSettings: strict),
        .executableTarget(name: "c-epoll-echo", dependencies: ["serving"], cSettings: strict),
        .executableTarget(
            name: "c-tls-echo", dependencies: ["serving"], cSettings: strict,
            linkerSettings: openSSL),
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
