// swift-tools-version: 6.2
import PackageDescription

/// A program that uses only the product NetAPI. Tests check the packages that it resolves and the
/// headers that its build needs.
let package = Package(
    name: "plain-consumer",
    dependencies: [.package(name: "millrace", path: "../..")],
    targets: [
        .executableTarget(
            name: "plain-consumer",
            dependencies: [.product(name: "NetAPI", package: "millrace")])
    ]
)
