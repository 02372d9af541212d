namespace KTrace.Tracing;

/// <summary>A module that was loaded, out of its line.</summary>
internal static class ModuleParts
{
    public static TraceRecord.Module Module(ref RecordJson json)
    {
        string? name = null, buildId = null, path = null;
        ulong? address = null;
        while (json.NextProperty())
        {
            if (json.Is("name"u8))
            {
                name = json.String("name");
            }
            else if (json.Is("base"u8))
            {
                address = json.Hex("base");
            }
            else if (json.Is("build_id"u8))
            {
                buildId = json.OptionalString("build_id");
            }
            else if (json.Is("file"u8))
            {
                path = json.OptionalString("file");
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceRecord.Module(
            name ?? throw json.Fail("a module without name"), address ?? throw json.Fail("a module without base"), buildId, path);
    }
}
