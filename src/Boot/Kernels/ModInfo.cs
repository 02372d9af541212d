// .modinfo: NUL-separated "key=value" strings that every module carries (include/linux/moduleinfo.h; scripts/mod/modpost.c writes
// depends=).
using System.Collections.Immutable;
using System.Text;

namespace KTrace.Boot.Kernels;

/// <summary>What a module says of itself.</summary>
/// <param name="Depends">Modules whose symbols it uses: they must be loaded first.</param>
/// <param name="SoftBefore">Modules that it would like to have been loaded first ("softdep=pre: …"), such as crc32c for
/// ext4.</param>
internal sealed record ModInfo(ImmutableArray<string> Depends, ImmutableArray<string> SoftBefore)
{
    private const int EntryLimit = 100_000;

    /// <exception cref="BootException">The file cannot be read, or is no kernel module.</exception>
    public static async Task<ModInfo> ReadAsync(string path, CancellationToken cancellationToken)
    {
        var plain = path;
        string? temporary = null;
        try
        {
            if (!path.EndsWith(".ko", StringComparison.Ordinal))
            {
                temporary = Path.GetTempFileName();
                await File.WriteAllBytesAsync(temporary, await ModuleFiles.ReadAsync(path, cancellationToken)
                    .ConfigureAwait(false), cancellationToken)
                    .ConfigureAwait(false);
                plain = temporary;
            }

            var section = ElfPeek.TryOpen(plain)?.TryReadSection(".modinfo")
                ?? throw new BootException($"{path}: not a kernel module (no ELF file, or it has no .modinfo section)");
            return Parse(section);
        }
        finally
        {
            if (temporary is not null)
            {
                File.Delete(temporary);
            }
        }
    }

    internal static ModInfo Parse(ReadOnlySpan<byte> section)
    {
        var depends = ImmutableArray.CreateBuilder<string>();
        var soft = ImmutableArray.CreateBuilder<string>();
        foreach (var entry in Encoding.UTF8.GetString(section).Split('\0').Take(EntryLimit))
        {
            if (entry.StartsWith("depends=", StringComparison.Ordinal))
            {
                depends.AddRange(entry[8..].Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
                    .Select(ModuleFiles.Normalize));
            }
            else if (entry.StartsWith("softdep=", StringComparison.Ordinal))
            {
                var before = false;
                foreach (var word in entry[8..].Split(' ', StringSplitOptions.RemoveEmptyEntries))
                {
                    if (word.EndsWith(':'))
                    {
                        before = word == "pre:";
                    }
                    else if (before)
                    {
                        soft.Add(ModuleFiles.Normalize(word));
                    }
                }
            }
        }

        return new ModInfo(depends.ToImmutable(), soft.ToImmutable());
    }
}
