using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using KTrace.Boot.Images;

namespace KTrace.Boot.Scenarios;

/// <summary>A boot, described: which kernel, which initramfs, which machine, and what to record. Values only; paths are absolute
/// once it has been read from a file.</summary>
public sealed record Scenario
{
    /// <summary>The memory of the guest if nobody says otherwise, in MiB.</summary>
    public const int DefaultMemory = 512;

    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.KebabCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.KebabCaseLower) },
        MaxDepth = 16,
    };

    public string Name { get; init; } = "unnamed";

    public string? Description { get; init; }

    /// <summary>Null for a machine that boots from a drive or a CD.</summary>
    public KernelChoice? Kernel { get; init; }

    /// <summary>A file, a description to build from, or null for none.</summary>
    public InitramfsChoice? Initramfs { get; init; }

    /// <summary>The kernel's command line.</summary>
    public string Append { get; init; } = "";

    /// <summary>"x86-64" or "i386": which QEMU.</summary>
    public string Architecture { get; init; } = "x86-64";

    /// <summary>QEMU's machine type, or null for the architecture's own (q35).</summary>
    public string? Machine { get; init; }

    /// <summary>QEMU's CPU model, or null for QEMU's default.</summary>
    public string? Cpu { get; init; }

    /// <summary>MiB.</summary>
    public int Memory { get; init; } = DefaultMemory;

    public int Cpus { get; init; } = 1;

    public ImmutableArray<NetworkCard> Nics { get; init; } = [];

    public ImmutableArray<Drive> Drives { get; init; } = [];

    /// <summary>An ISO image in the CD drive.</summary>
    public string? Cdrom { get; init; }

    /// <summary>A firmware image other than QEMU's SeaBIOS, such as OVMF's.</summary>
    public string? Bios { get; init; }

    /// <summary>Further arguments for QEMU, last on its command line.</summary>
    public ImmutableArray<string> QemuArgs { get; init; } = [];

    /// <summary>Tracepoints in the words of -b.</summary>
    public ImmutableArray<string> Tracepoints { get; init; } = [];

    /// <summary>Places that patterns and sets among the tracepoints leave out.</summary>
    public ImmutableArray<string> Except { get; init; } = [];

    /// <summary>"stop" or "no-stop", as the options of ktrace record; null: without stops where that works.</summary>
    public string? Capture { get; init; }

    /// <summary>Bytes of stack that are copied at a hit at most; null for ktrace's own.</summary>
    public int? Stack { get; init; }

    /// <summary>MiB of the ring through which hits come; null for ktrace's own.</summary>
    public int? Ring { get; init; }

    /// <summary>Hits may be lost, and are counted, when they come faster than they are read.</summary>
    public bool? Lossy { get; init; }

    /// <summary>"own", "all" or "none": of which frames arguments are recorded; null for as many as is quick.</summary>
    public string? Arguments { get; init; }

    /// <summary>End when this text appears on the console.</summary>
    public string? Until { get; init; }

    /// <summary>End after this many seconds of real time; null for no limit.</summary>
    public double? Timeout { get; init; }

    /// <summary>End after this many hits; null for no limit.</summary>
    public int? MaxHits { get; init; }

    /// <summary>The file it was read from, if any.</summary>
    [JsonIgnore]
    public string? SourceFile { get; init; }

    /// <summary>One JSON object, for a trace's header.</summary>
    public JsonElement ToJson() => JsonSerializer.SerializeToElement(this, Json);

    /// <summary>The inverse of <see cref="ToJson"/>.</summary>
    /// <exception cref="BootException">The object is no scenario.</exception>
    public static Scenario FromJson(JsonElement element)
    {
        try
        {
            return element.Deserialize<Scenario>(Json) ?? throw new BootException("the recorded scenario is empty");
        }
        catch (Exception e) when (e is JsonException or NotSupportedException or InvalidOperationException)
        {
            throw new BootException($"the recorded scenario cannot be read: {e.Message}", inner: e);
        }
    }

    // Records compare arrays by reference; two scenarios are the same if they say the same.
    public bool Equals(Scenario? other) => other is not null && ToJson().GetRawText() == other.ToJson().GetRawText();

    public override int GetHashCode() => ToJson().GetRawText().GetHashCode(StringComparison.Ordinal);
}

/// <summary>Which kernel: a release ("stock" for the one that the distribution names), a build tree, or files.</summary>
public sealed record KernelChoice
{
    /// <summary>Such as 6.1.0-56-amd64, or "stock".</summary>
    public string? Release { get; init; }

    /// <summary>A kernel build tree.</summary>
    public string? Tree { get; init; }

    public string? Image { get; init; }

    public string? Vmlinux { get; init; }

    /// <summary>A folder like /lib/modules/RELEASE.</summary>
    public string? Modules { get; init; }

    public string? DebugModules { get; init; }

    /// <summary>Only the debug files are named: the guest brings the kernel itself, on a disk or a CD.</summary>
    [JsonIgnore]
    public bool IsGuestsOwn => Vmlinux is not null && Release is null && Tree is null && Image is null;
}

/// <summary>Which initramfs: a finished file, or a description. Exactly one of the two.</summary>
public sealed record InitramfsChoice
{
    public string? File { get; init; }

    public InitramfsDescription? Build { get; init; }
}

/// <summary>A network card.</summary>
/// <param name="Model">QEMU's device name: e1000e, virtio-net-pci …</param>
/// <param name="Netdev">"user" (the built-in NAT), "none" for a card without a cable, or QEMU's own words for -netdev without
/// the id.</param>
/// <param name="Mac">Its address, or null for QEMU's.</param>
public sealed record NetworkCard(string Model, string Netdev = "user", string? Mac = null);

/// <summary>A drive.</summary>
/// <param name="Format">raw, qcow2 …</param>
/// <param name="If">How it is attached: virtio, ide, scsi, none.</param>
/// <param name="ReadOnly">Guest writes fail.</param>
/// <param name="Snapshot">Guest writes go to a temporary file and are lost: the image stays as it is and every boot begins the
/// same.</param>
public sealed record Drive(string File, string Format = "raw", string If = "virtio", bool ReadOnly = false, bool Snapshot = true);
