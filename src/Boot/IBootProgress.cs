namespace KTrace.Boot;

/// <summary>Where long work says how far it is. Called from any thread, often (a few times a second); it must not block or
/// throw.</summary>
public interface IBootProgress
{
    void Report(BootProgress progress);
}

/// <summary>One report. Reports of one phase have the same <paramref name="Phase"/>.</summary>
/// <param name="Phase">A short name: "download", "unpack", "initramfs", "install".</param>
/// <param name="Message">What is being worked on, without the numbers.</param>
/// <param name="Done">Bytes so far; 0 if the phase cannot be counted.</param>
/// <param name="Total">Bytes in all, or null if unknown.</param>
public sealed record BootProgress(string Phase, string Message, long Done = 0, long? Total = null);

/// <summary>Throws every report away.</summary>
public sealed class NoProgress : IBootProgress
{
    public static NoProgress Instance { get; } = new();

    public void Report(BootProgress progress)
    {
    }
}
