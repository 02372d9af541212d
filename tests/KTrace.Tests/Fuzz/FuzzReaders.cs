namespace KTrace.Tests.Fuzz;

/// <summary>The table: every reader of the product that is given something from outside.</summary>
internal static class FuzzReaders
{
    public static FuzzReader[] All { get; } =
        [.. ObjectReaders.All, .. UnwindReaders.All, .. KernelReaders.All, .. ValueReaders.All, .. TraceReaders.All, .. BootReaders.All, .. RspReaders.All];

    public static FuzzReader Named(string name) => All.Single(r => r.Name == name);

    /// <summary>A reader's part of so many cases over all readers.</summary>
    public static int CasesOf(FuzzReader reader, int all) => ((all * reader.Share) + All.Sum(r => r.Share) - 1) / All.Sum(r => r.Share);
}
