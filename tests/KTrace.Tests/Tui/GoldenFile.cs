namespace KTrace.Tests.Tui;

/// <summary>Screens that are compared with a file; KTRACE_UPDATE_GOLDEN=1 writes them anew.</summary>
internal static class GoldenFile
{
    private static readonly string Folder = Path.Combine(SourceRoot(), "tests", "KTrace.Tests", "Golden", "Views");

    public static void Check(string name, string actual)
    {
        string file = Path.Combine(Folder, name + ".txt");
        if (Environment.GetEnvironmentVariable("KTRACE_UPDATE_GOLDEN") == "1")
        {
            Directory.CreateDirectory(Folder);
            File.WriteAllText(file, actual);
            return;
        }

        Assert.True(File.Exists(file), $"{file} is not there: run the test with KTRACE_UPDATE_GOLDEN=1, and read what it wrote");
        Assert.Equal(File.ReadAllText(file), actual);
    }

    /// <summary>The sources, above where the tests were built.</summary>
    public static string SourceRoot()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "KTrace.sln")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? throw new DirectoryNotFoundException("no KTrace.sln above " + AppContext.BaseDirectory);
    }
}
