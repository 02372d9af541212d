namespace KTrace.Tests.Boot;

/// <summary>Where the sources lie: the folder with KTrace.sln, above the tests' binaries.</summary>
internal static class Repository
{
    public static string Root { get; } = Find();

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "KTrace.sln")))
            {
                return folder.FullName;
            }
        }

        throw new InvalidOperationException("KTrace.sln is not above " + AppContext.BaseDirectory);
    }
}
