namespace KTrace.Boot.Qemu;

/// <summary>What differs between guest architectures when QEMU is started: a new architecture is a row here.</summary>
/// <param name="Architecture">As scenarios and traces name it.</param>
/// <param name="Program">QEMU's program.</param>
/// <param name="Package">The Debian package that brings it.</param>
/// <param name="Machine">The machine type if the scenario names none.</param>
/// <param name="Console">The device of the first serial port, for console=.</param>
public sealed record QemuMachine(string Architecture, string Program, string Package, string Machine, string Console)
{
    public static IReadOnlyList<QemuMachine> All { get; } =
    [
        new("x86-64", "qemu-system-x86_64", "qemu-system-x86", "q35", "ttyS0"),
        new("i386", "qemu-system-i386", "qemu-system-x86", "q35", "ttyS0"),
    ];

    /// <exception cref="BootException">There is no such row.</exception>
    public static QemuMachine For(string architecture) => All.FirstOrDefault(machine => machine.Architecture == architecture)
        ?? throw new BootException($"no machine for the architecture {architecture}",
            "architectures: " + string.Join(", ", All.Select(machine => machine.Architecture)));
}
