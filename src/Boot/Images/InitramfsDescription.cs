using System.Collections.Immutable;

namespace KTrace.Boot.Images;

/// <summary>What an initramfs is made of, as a scenario says it.</summary>
public sealed record InitramfsDescription
{
    /// <summary>Modules to take along and to load, by name; what they need comes by itself and before them.</summary>
    public ImmutableArray<string> Modules { get; init; } = [];

    /// <summary>What /init does after mounting proc, sys and devtmpfs and loading the modules: see <see
    /// cref="InitScript.Steps"/>.</summary>
    public ImmutableArray<string> Steps { get; init; } = ["network", "interrupts", "poweroff"];

    /// <summary>The text of an own /init, which then replaces the generated one; null for the generated one.</summary>
    public string? Script { get; init; }

    public ImmutableArray<AddedFile> Files { get; init; } = [];

    /// <summary>A static busybox other than this system's, for a guest of another architecture.</summary>
    public string? Busybox { get; init; }
}

/// <summary>A file of the host that comes into the guest.</summary>
/// <param name="From">Path on the host.</param>
/// <param name="To">Path in the guest.</param>
/// <param name="Mode">Permissions, or null to take the host file's.</param>
public sealed record AddedFile(string From, string To, uint? Mode = null);
