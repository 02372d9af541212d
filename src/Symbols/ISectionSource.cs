namespace KTrace.Symbols;

/// <summary>
/// Where debug-section readers get their bytes: a linked file as it stands (<see cref="Elf.ElfFile"/>), or a relocatable
/// one after its relocations were applied for the addresses at which it is loaded.
/// </summary>
public interface ISectionSource
{
    /// <summary>Path of the file, for messages.</summary>
    string Path { get; }

    /// <summary>Size of an address in bytes: 4 or 8.</summary>
    int AddressSize { get; }

    /// <summary>The contents of the first section of that name; empty when there is none.</summary>
    SectionData GetSection(string name);

    /// <summary>
    /// The address for which the contents of that section were linked or relocated: what pc-relative fields in it
    /// (.orc_unwind_ip, .eh_frame) count from. 0 where the source used 0.
    /// </summary>
    ulong GetSectionAddress(string name) => 0;
}
