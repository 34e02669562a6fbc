// Puts the page together and begins.

import { t } from "./i18n.js";
import { emit } from "./state.js";
import { begin } from "./session.js";
import { mountNotices } from "./notices.js";
import { mountSidebar } from "./sidebar.js";
import { mountHeader } from "./header.js";
import { mountMessages } from "./messages.js";
import { mountComposer } from "./composer.js";
import { mountInteractions } from "./interactions.js";
import { mountSending } from "./sending.js";
import { mountModals } from "./modal.js";
import { mountMenus } from "./menus.js";
import { mountSpoilers } from "./markup.js";

mountNotices();
mountInteractions();
mountSidebar();
mountHeader();
mountMessages();
mountComposer();
mountSending();
mountModals();
mountMenus();
mountSpoilers();

begin().catch((error) => emit("failure", error ?? new Error(t("connecting"))));
